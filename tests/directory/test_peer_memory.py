"""How peers behaved, and what a lookup owes them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mddns.directory.peer_memory import FIRST_PAUSE, GONE_AFTER, LONGEST_PAUSE, Memory, Standing

P = "100.64.0.1:28004"


def test_nobody_is_known_at_first() -> None:
    memory = Memory()
    assert memory.standing(P, 0.0) is Standing.NEW
    assert (memory.rtt(P), memory.paused_until(P), memory.silent(P, 0.0), memory.gone(P, 0.0)) == (
        None,
        0.0,
        False,
        False,
    )
    assert not memory.changed


def test_who_answered_is_a_registry_and_its_rtt_is_known() -> None:
    memory = Memory()
    memory.answered(P, 1.0, 0.02)
    assert memory.standing(P, 1000.0) is Standing.REGISTRY
    memory.answered(P, 2.0, None)
    assert memory.rtt(P) == 0.02
    assert memory.changed


def test_a_registry_that_misses_is_silent_until_it_answers() -> None:
    memory = Memory()
    memory.answered(P, 0.0, None)
    memory.missed(P, 6.0)
    assert memory.silent(P, 6.0)
    assert memory.standing(P, 6.0) is Standing.REGISTRY
    memory.answered(P, 7.0, None)
    assert not memory.silent(P, 7.0)


def test_a_registry_that_was_asked_in_vain_for_30_seconds_is_gone() -> None:
    memory = Memory()
    memory.answered(P, 0.0, None)
    memory.missed(P, 6.0)
    assert not memory.gone(P, GONE_AFTER - 0.1)
    assert memory.gone(P, GONE_AFTER)
    assert not memory.silent(P, GONE_AFTER)
    assert memory.standing(P, GONE_AFTER) is Standing.IDLE


def test_a_first_miss_after_a_long_quiet_time_makes_nobody_gone_at_once() -> None:
    """Who was not asked for an hour has not been silent for an hour."""
    memory = Memory()
    memory.answered(P, 0.0, None)
    memory.missed(P, 3600.0)
    assert memory.silent(P, 3601.0)
    assert not memory.gone(P, 3604.9)
    assert memory.gone(P, 3605.0)


def test_who_never_answered_is_idle_for_a_minute_and_never_silent() -> None:
    memory = Memory()
    memory.missed(P, 0.0)
    assert memory.standing(P, 1.0) is Standing.IDLE
    assert not memory.silent(P, 1.0)
    assert memory.standing(P, 60.0) is Standing.NEW


def test_who_refused_offers_nothing_any_more() -> None:
    memory = Memory()
    memory.answered(P, 0.0, None)
    memory.refused(P, 1.0)
    assert memory.standing(P, 1.0) is Standing.IDLE
    assert not memory.silent(P, 1.0)


def test_refusals_pause_for_5_seconds_doubling_to_5_minutes() -> None:
    memory, now, pauses = Memory(), 0.0, []
    for _ in range(9):
        memory.refused(P, now)
        pauses.append(memory.paused_until(P) - now)
        now = memory.paused_until(P)
    assert pauses == [FIRST_PAUSE, 10.0, 20.0, 40.0, 80.0, 160.0, LONGEST_PAUSE, LONGEST_PAUSE, LONGEST_PAUSE]


@pytest.mark.parametrize("end", ["answered", "heard"])
def test_a_pause_ends_when_the_peer_answers_or_asks(end: str) -> None:
    memory = Memory()
    memory.refused(P, 0.0)
    memory.refused(P, 1.0)
    if end == "heard":
        assert memory.heard(P)
        assert not memory.heard(P)
    else:
        memory.answered(P, 2.0, None)
    assert memory.paused_until(P) == 0.0
    memory.refused(P, 3.0)
    assert memory.paused_until(P) == 3.0 + FIRST_PAUSE


def test_a_registry_that_still_counts_is_not_paused_by_a_miss() -> None:
    memory = Memory()
    memory.answered(P, 0.0, None)
    memory.missed(P, 6.0)
    assert memory.paused_until(P) == 0.0
    memory.missed(P, 40.0)
    assert memory.paused_until(P) == 45.0


def test_hearing_of_strangers_is_no_news() -> None:
    assert not Memory().heard(P)


def test_who_is_not_on_the_network_is_forgotten() -> None:
    memory = Memory()
    memory.answered("a", 0.0, None)
    memory.answered("b", 0.0, None)
    memory.keep_only(["b", "c"])
    assert [memory.standing(each, 0.0) for each in "abc"] == [Standing.NEW, Standing.REGISTRY, Standing.NEW]


def test_it_does_not_grow_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mddns.directory.peer_memory._MOST_PEERS", 100)
    memory = Memory()
    for number in range(1000):
        memory.answered(f"{number}", 0.0, None)
    assert len(memory.to_json(0.0, 0.0)["peers"]) == 100


def test_it_survives_json_with_another_clock() -> None:
    """A monotonic clock means something in one process only."""
    memory = Memory()
    memory.answered("a", 100.0, 0.0123)
    memory.missed("a", 110.0)
    memory.refused("b", 105.0)
    memory.missed("c", 50.0)
    read = Memory.from_json(json.loads(json.dumps(memory.to_json(110.0, 1e9))), 7.0, 1e9 + 1)
    for now in (0.0, 10.0, 25.0, 100.0):
        for each in ("a", "b", "c", "d"):
            assert read.standing(each, 7.0 + now) is memory.standing(each, 111.0 + now)
            assert read.silent(each, 7.0 + now) == memory.silent(each, 111.0 + now)
    assert read.rtt("a") == pytest.approx(0.0123)
    assert not read.changed


def test_a_clock_that_was_set_back_makes_no_future() -> None:
    memory = Memory()
    memory.answered(P, 0.0, None)
    memory.missed(P, 0.0)
    read = Memory.from_json(memory.to_json(0.0, 2e9), 0.0, 1e9)
    assert read.silent(P, 0.0)
    assert read.gone(P, GONE_AFTER)


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**400), 10**400) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
entries = st.dictionaries(st.sampled_from(["answered", "missed", "idle", "rttMs", "x"]), anything, max_size=5)


@given(
    anything | st.fixed_dictionaries({"version": st.just(1), "peers": st.dictionaries(st.text(), anything | entries)})
)
@settings(deadline=None, max_examples=200)
def test_anything_that_json_can_hold_is_read_or_left_out(data: Any) -> None:
    memory = Memory.from_json(data, 5.0, 1e9)
    for peer in data.get("peers", ()) if isinstance(data, dict) and isinstance(data.get("peers"), dict) else ():
        memory.standing(peer, 5.0)
        memory.silent(peer, 5.0)
        memory.missed(peer, 6.0)
    json.dumps(memory.to_json(5.0, 1e9), allow_nan=False)
