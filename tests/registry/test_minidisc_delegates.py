"""Minidisc's registries on our host: whom to ask when, what stands how long, and whose pings are answered."""

from __future__ import annotations

import pytest

from mddns.codec.answer import Told
from mddns.codec.instance_records import Attributes
from mddns.registry.minidisc_delegates import (
    ASK_EVERY,
    GIVEN_UP_AFTER,
    MOST_DELEGATES,
    ORPHANS_WITHIN,
    SILENT_FOR,
    Delegates,
    Pings,
)

A, B = ("100.64.0.1", 4001), ("100.64.0.1", 4002)


def told(name: str) -> tuple[Told, ...]:
    return (Told(name, "", 10, 10, 80, ("100.64.0.1",), Attributes({}, None, ())),)


def names(delegates: Delegates, now: float) -> list[str]:
    return [each.name for each in delegates.told(now)]


def test_a_delegate_is_asked_at_once_soon_after_and_then_every_five_seconds() -> None:
    delegates = Delegates()
    delegates.add(A, 0.0)
    asked = []
    for tick in range(200):
        now = tick / 10
        if delegates.due(now):
            delegates.asked([A], now)
            asked.append(now)
    assert asked == [0.0, 0.2, 1.0, 6.0, 11.0, 16.0]


def test_registering_twice_does_no_harm_and_loses_nothing() -> None:
    delegates = Delegates()
    assert delegates.add(A, 0.0)
    delegates.answered(A, told("web"), 0.1)
    assert delegates.add(A, 5.0)
    assert (delegates.places, names(delegates, 5.0)) == ((A,), ["web"])
    assert delegates.due(5.0) == [A]


def test_one_that_refuses_is_gone_with_its_services() -> None:
    delegates = Delegates()
    delegates.add(A, 0.0)
    delegates.add(B, 0.0)
    delegates.answered(A, told("web"), 0.1)
    delegates.answered(B, told("db"), 0.1)
    delegates.refused(A)
    assert (delegates.places, names(delegates, 0.2)) == ((B,), ["db"])


def test_a_silent_one_is_asked_on_and_its_services_are_dropped_until_it_answers() -> None:
    """It pings whoever has the port, is answered, and would never register anew."""
    delegates = Delegates()
    delegates.add(A, 0.0)
    delegates.answered(A, told("web"), 0.0)
    assert names(delegates, SILENT_FOR - 0.1) == ["web"]
    assert names(delegates, SILENT_FOR) == []
    assert delegates.due(1000.0) == [A]
    delegates.answered(A, told("web"), 1000.0)
    assert names(delegates, 1000.0) == ["web"]


def test_one_that_never_answers_is_given_up_after_an_hour() -> None:
    delegates = Delegates()
    delegates.add(A, 0.0)
    assert delegates.due(GIVEN_UP_AFTER) == [A]
    assert delegates.due(GIVEN_UP_AFTER + 1) == []
    assert delegates.places == ()


def test_who_wants_to_know_now_waits_for_those_alone_that_answered_last_time() -> None:
    delegates = Delegates()
    for place in (A, B):
        delegates.add(place, 0.0)
        delegates.asked([place], 0.0)
        delegates.answered(place, (), 0.0)
    assert delegates.due(0.5, 1.0) == []
    assert delegates.due(1.5, 1.0) == [A, B]
    delegates.asked([A, B], 1.5)
    delegates.answered(A, (), 1.6)
    assert delegates.due(3.0, 1.0) == [A]


def test_there_are_so_many_and_no_more_but_silent_ones_make_room() -> None:
    delegates = Delegates()
    places = [("100.64.0.1", 5000 + n) for n in range(MOST_DELEGATES)]
    assert all(delegates.add(place, float(n)) for n, place in enumerate(places[:3]))
    for place in places[3:]:
        assert delegates.add(place, 10.0)
        delegates.answered(place, (), 20.0)
    delegates.answered(places[0], (), 20.0)
    delegates.answered(places[1], (), 20.0)
    assert delegates.add(A, 20.0)
    assert places[2] not in delegates.places
    assert not delegates.add(B, 20.0)
    assert delegates.add(places[0], 20.0)
    assert len(delegates.places) == MOST_DELEGATES


def test_whoever_goes_on_knows_them_and_asks_them_at_once() -> None:
    delegates = Delegates()
    delegates.follow([A, B], 100.0)
    assert delegates.due(100.0) == [A, B]
    delegates.answered(A, told("web"), 100.1)
    delegates.follow([A], 101.0)
    assert (delegates.places, names(delegates, 101.0)) == ((A,), ["web"])


# Pings: each of ours comes every 5 s or a little later


def unanswered(ours: int, theirs: int, seconds: float, every: float = 5.02) -> int:
    """How many pings are not answered, of those that somebody else's delegates and ours send."""
    pings = Pings()
    pings.begin(0.0, ours)
    everyone = ours + theirs
    moments = sorted(
        number * every / everyone + turn * every
        for turn in range(int(seconds / every) + 1)
        for number in range(everyone)
        if number * every / everyone + turn * every < seconds
    )
    return sum(not pings.accounted_for(now, ours) for now in moments)


@pytest.mark.parametrize("ours", [1, 2, 8, 32])
def test_our_delegates_pings_are_all_answered(ours: int) -> None:
    assert unanswered(ours, 0, 120.0) == 0


def test_one_of_ours_that_is_heard_late_and_then_in_time_is_answered() -> None:
    pings = Pings()
    pings.begin(0.0, 0)
    pings.registered()
    late = [0.1, 5.1, 10.5, 15.1, 20.2, 25.4, 30.1]
    assert all(pings.accounted_for(now, 1) for now in late)


@pytest.mark.parametrize(("ours", "theirs"), [(0, 1), (0, 5), (1, 1), (4, 1), (8, 1), (8, 8)])
def test_while_others_ping_as_well_some_are_not(ours: int, theirs: int) -> None:
    assert unanswered(ours, theirs, ORPHANS_WITHIN) >= 1


def test_who_registers_and_pings_right_after_is_answered() -> None:
    """As Minidisc's Python does."""
    pings = Pings()
    pings.begin(0.0, 0)
    for n in range(5):
        pings.registered()
        assert pings.accounted_for(0.1 + n, n + 1)


def test_later_everybody_is_answered() -> None:
    pings = Pings()
    pings.begin(0.0, 0)
    assert not pings.accounted_for(ORPHANS_WITHIN - 0.1, 0)
    assert pings.accounted_for(ORPHANS_WITHIN, 0)


def test_who_never_had_the_port_from_another_answers_everybody() -> None:
    assert Pings().accounted_for(5.0, 0)


def test_the_schedule_is_that_of_the_records() -> None:
    from mddns.codec.instance_records import TTL

    assert ASK_EVERY == TTL
