"""Answers kept for as long as they hold, and what goes when there is no more room."""

from __future__ import annotations

import pytest

from mddns.forward.reply_cache import RETRY, STALE_FOR, Key, ReplyCache
from mddns.forward.upstream_reply import Reply


def key(name: bytes = b"\1a\0", *, qtype: int = 1, flags: int = 0x100, do: bool = False) -> Key:
    return Key(name, qtype, flags, do)


def reply(keep: int = 60, octets: int = 100) -> Reply:
    return Reply(0, False, bytes(octets), (), (0, 0, 0), 0, keep, (), ())


def test_an_answer_is_fresh_until_its_end_and_stale_for_a_day() -> None:
    cache = ReplyCache()
    cache.put(key(), reply(60), 100.0)
    entry = cache.get(key(), 159.9)
    assert entry
    assert entry.fresh(159.9)
    assert not entry.fresh(160.0)
    assert cache.get(key(), 160.0 + STALE_FOR - 1) is entry
    assert cache.get(key(), 160.0 + STALE_FOR) is None
    assert (len(cache), cache.octets) == (0, 0)


def test_what_may_not_be_kept_is_not() -> None:
    cache = ReplyCache()
    cache.put(key(), reply(0), 0.0)
    assert cache.get(key(), 0.0) is None


@pytest.mark.parametrize("other", [key(b"\1b\0"), key(qtype=28), key(flags=0x110), key(do=True)])
def test_type_rd_cd_and_do_are_part_of_what_was_asked(other: Key) -> None:
    cache = ReplyCache()
    cache.put(key(), reply(), 0.0)
    assert cache.get(other, 0.0) is None


def test_a_new_answer_takes_the_old_ones_place() -> None:
    cache = ReplyCache()
    for now in (0.0, 50.0):
        cache.put(key(), reply(60), now)
    assert len(cache) == 1
    entry = cache.get(key(), 100.0)
    assert entry
    assert entry.fresh(100.0)


def test_what_may_not_be_kept_takes_the_old_answer_away() -> None:
    cache = ReplyCache()
    cache.put(key(), reply(60), 0.0)
    cache.put(key(), reply(0), 1.0)
    assert (len(cache), cache.octets) == (0, 0)


def test_what_was_not_asked_for_longest_goes_first() -> None:
    cache = ReplyCache(3)
    for name in (b"\1a\0", b"\1b\0", b"\1c\0"):
        cache.put(key(name), reply(), 0.0)
    cache.get(key(b"\1a\0"), 1.0)
    cache.put(key(b"\1d\0"), reply(), 2.0)
    assert [bool(cache.get(key(name), 3.0)) for name in (b"\1a\0", b"\1b\0", b"\1c\0", b"\1d\0")] == [
        True,
        False,
        True,
        True,
    ]


def test_octets_are_bounded() -> None:
    cache = ReplyCache(octets=10_000)
    for n in range(200):
        cache.put(key(bytes((1, n, 0))), reply(octets=400), 0.0)
        assert cache.octets <= 10_000
    assert 5 < len(cache) < 12


def test_what_would_take_all_the_room_is_not_kept() -> None:
    cache = ReplyCache(octets=10_000)
    cache.put(key(), reply(octets=5000), 0.0)
    assert len(cache) == 0


def test_an_answer_is_asked_for_again_in_the_last_tenth_of_its_life() -> None:
    cache = ReplyCache()
    cache.put(key(), reply(100), 0.0)
    entry = cache.get(key(), 0.0)
    assert entry
    assert not entry.ends_soon(89.0)
    assert entry.ends_soon(91.0)
    entry.ahead = True
    assert not entry.ends_soon(91.0)


def test_a_short_life_is_not_worth_it() -> None:
    cache = ReplyCache()
    cache.put(key(), reply(5), 0.0)
    entry = cache.get(key(), 4.9)
    assert entry
    assert not entry.ends_soon(4.9)


def test_after_a_failure_nobody_waits_for_a_while() -> None:
    cache = ReplyCache()
    cache.put(key(), reply(5), 0.0)
    entry = cache.get(key(), 10.0)
    assert entry
    assert not entry.last_resort(10.0)
    entry.failed = 10.0
    assert entry.last_resort(10.0 + RETRY - 1)
    assert not entry.last_resort(10.0 + RETRY)


def test_all_is_forgotten_at_once() -> None:
    cache = ReplyCache()
    cache.put(key(), reply(), 0.0)
    cache.clear()
    assert (len(cache), cache.octets, cache.get(key(), 0.0)) == (0, 0, None)
