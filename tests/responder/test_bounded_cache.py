"""A cache that no flood makes grow."""

from __future__ import annotations

import random

from mddns.responder.bounded_cache import Cache


def test_what_is_kept_is_found_in_its_own_epoch_alone() -> None:
    cache: Cache[str, int] = Cache(10, 1000)
    cache.at(1)
    cache.put("a", 1, 10)
    assert cache.at(1) == {"a": 1}
    assert cache.at(2) == {}
    assert cache.at(1) == {}


def test_neither_entries_nor_octets_grow_beyond_the_bounds() -> None:
    cache: Cache[int, bytes] = Cache(50, 5000)
    draw = random.Random(4)
    cache.at(0)
    for number in range(5000):
        value = bytes(draw.randrange(2000))
        cache.put(number, value, len(value))
        assert len(cache.found) <= 50
        assert sum(map(len, cache.found.values())) <= 5000


def test_what_would_fill_a_quarter_alone_is_not_kept_and_pushes_nothing_out() -> None:
    cache: Cache[str, bytes] = Cache(50, 4000)
    cache.put("small", b"", 1000)
    cache.put("large", b"", 1001)
    assert list(cache.found) == ["small"]


def test_when_it_is_full_it_starts_over_with_the_new_one() -> None:
    cache: Cache[int, int] = Cache(3, 1000)
    for number in range(4):
        cache.put(number, number, 1)
    assert cache.found == {3: 3}
    heavy: Cache[int, int] = Cache(10, 1000)
    for number in range(5):
        heavy.put(number, number, 240)
    assert heavy.found == {4: 4}
