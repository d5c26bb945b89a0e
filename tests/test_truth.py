"""The judge of chaos finds what is wrong, and only that."""

from __future__ import annotations

from typing import Any

import pytest
from bed import verdict
from bed.truth import FOREVER, Span, Truth

WHERE = "100.64.0.1:80"
SEER = 99


def line(at: float, t: str | None, *, done: bool = True) -> dict[str, Any]:
    return {"at": at, "port": 80, "labels": None if t is None else {"t": t}, "done": done}


def event(kind: str, at: float, t: str = "10") -> dict[str, Any]:
    return {"event": kind, "at": at, "where": WHERE, "labels": {"t": t}}


@pytest.fixture
def truth() -> Truth:
    """From 10 s on alpha has a service, whose labels are others from 20 s on; at 60 s it is killed."""
    made = Truth(lives={1: ("alpha", Span(9, 60))})
    lines = [line(10, "10", done=False), line(10, "10"), line(20, "20", done=False), line(20.5, "20")]
    made.program(1, "alpha", "100.64.0.1", lines, Span(60, 60))
    return made


def wrong(truth: Truth, *events: dict[str, Any], until: float = 30.0) -> list[str]:
    told = [{"event": "current", "at": 0.0}, *events]
    return [
        *verdict.illegal(told),
        *verdict.untrue(truth, "bravo", SEER, told),
        *verdict.late(truth, "bravo", SEER, told, until),
    ]


GOOD = event("up", 10.1), event("update", 20.2, "20")


def test_what_is_true_is_right(truth: Truth) -> None:
    assert wrong(truth, *GOOD) == []
    assert wrong(truth, *GOOD, event("down", 60.1, "20"), until=80.0) == []


@pytest.mark.parametrize(
    ("events", "what"),
    [
        ((*GOOD, event("update", 20.3, "20")), "as new"),
        ((*GOOD, event("update", 20.3, "10")), "as new"),
        ((event("update", 10.1),), "not up"),
        ((*GOOD, event("up", 21.0, "30")), "it was up"),
        ((*GOOD, event("down", 30.0, "20")), "it lived"),
        ((event("down", 9.0),), "not up"),
        ((event("up", 10.1, "15"), event("update", 20.2, "20")), "it was not so"),
        ((), "was not told of"),
    ],
)
def test_what_is_not_is_found(truth: Truth, events: tuple[dict[str, Any], ...], what: str) -> None:
    assert any(what in each for each in wrong(truth, *events, until=31.0))


def test_what_stands_for_long_after_its_end_is_found(truth: Truth) -> None:
    assert any("still told of" in each for each in wrong(truth, *GOOD, until=80.0))


def test_since_when_it_is_there_may_be_told_later(truth: Truth) -> None:
    assert wrong(truth, *GOOD, event("update", 20.3, "20") | {"since": 1}) == []


def test_who_begins_is_told_what_others_know_of_a_host_that_was_cut_off_a_moment_ago(truth: Truth) -> None:
    assert any("it was not so" in each for each in wrong(truth, event("up", 29.0)))
    truth.apart.append((frozenset(["alpha"]), Span(22, FOREVER)))
    assert not any("it was not so" in each for each in wrong(truth, event("up", 29.0)))
    assert any("it was not so" in each for each in wrong(truth, event("up", 31.0)))


@pytest.mark.parametrize(("stopped", "within"), [((), 3), ((Span(20, 23),), 5)])
def test_where_nobody_of_ones_own_host_answers_changes_may_be_told_two_seconds_later(
    truth: Truth, stopped: tuple[Span, ...], within: int
) -> None:
    truth.lives[2] = "bravo", Span(0, FOREVER)
    truth.stopped[2] = list(stopped)
    for late, good in ((within - 0.1, True), (within + 0.1, False)):
        events = GOOD[0], event("down", 20.1), event("up", 20.5 + late)
        assert any("it was not so" in each for each in wrong(truth, *events)) is not good


def test_who_was_out_of_reach_may_be_down(truth: Truth) -> None:
    events = (*GOOD, event("down", 35.0, "20"))
    assert wrong(truth, *events, until=35.0)
    truth.apart.append((frozenset(["alpha"]), Span(26, FOREVER)))
    assert wrong(truth, *events, until=35.0) == []


def test_who_was_stopped_may_be_down(truth: Truth) -> None:
    truth.stopped[1] = [Span(26, FOREVER)]
    assert wrong(truth, *GOOD, event("down", 35.0, "20"), until=35.0) == []


@pytest.mark.parametrize(
    ("start", "found", "what"),
    [
        (30.0, {WHERE: {}}, None),
        (30.0, {}, "which lived"),
        (12.0, {}, None),
        (70.0, {WHERE: {}}, "which was gone"),
        (62.0, {WHERE: {}}, None),
        (30.0, {WHERE: {}, "100.64.0.9:1": {}}, "nobody offered"),
    ],
)
def test_lookups_are_judged_by_what_lived_then(
    truth: Truth, start: float, found: dict[str, Any], what: str | None
) -> None:
    lookup = {"way": "new", "start": start, "end": start + 0.1, "found": found, "silent": [], "count": len(found)}
    faults = [*verdict.false(truth, "bravo", SEER, [lookup])]
    assert len(faults) == bool(what)
    assert not what or what in faults[0]
