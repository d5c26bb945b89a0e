"""The judge of the chaos tests finds errors, and only errors: small histories, each with one fault."""

from __future__ import annotations

from typing import Any

import pytest

from bed import judge
from bed.truth import FOREVER, Span, Truth
from bed.verdict import Judge, illegal

WHERE, OTHER = "100.64.0.1:80", "100.64.0.1:81"
SEER = 99
Event = dict[str, Any]


def line(at: float, t: str | None, *, done: bool = True, port: int = 80) -> dict[str, Any]:
    return {"at": at, "port": port, "labels": None if t is None else {"t": t}, "done": done}


def event(kind: str, at: float, t: str = "10", since: int | None = 5, where: str = WHERE, name: str = "web") -> Event:
    return {"event": kind, "at": at, "where": where, "labels": {"t": t}, "since": since, "name": name}


@pytest.fixture
def truth() -> Truth:
    """From 10 s on alpha has a service, whose labels change at 20 s; at 60 s it is killed."""
    made = Truth(lives={1: ("alpha", Span(9, 60))})
    lines = [line(10, "10", done=False), line(10, "10"), line(20, "20", done=False), line(20.5, "20")]
    made.program(1, "alpha", "100.64.0.1", lines, Span(60, 60))
    return made


def wrong(truth: Truth, *events: Event, until: float = 31.0, current: float = 0.0) -> list[str]:
    told = sorted([{"event": "current", "at": current}, *events], key=lambda each: each["at"])
    truth.forget()
    judged = Judge(truth, "bravo", SEER)
    return [*illegal(told), *judged.untrue(told), *judged.late(told, until)]


def has(faults: list[str], what: str) -> bool:
    return any(what in each for each in faults)


UP, UPDATE = GOOD = event("up", 10.1), event("update", 20.6, "20")
DOWN = event("down", 60.1, "20")


def test_what_is_true_is_right(truth: Truth) -> None:
    assert wrong(truth, *GOOD) == []
    assert wrong(truth, *GOOD, DOWN, until=80.0) == []


@pytest.mark.parametrize(
    ("events", "what"),
    [
        # No event twice, and each sequence legal.
        ((*GOOD, event("update", 20.7, "20")), "as new"),
        ((*GOOD, event("update", 20.7, "20", since=6)), "as new"),
        ((*GOOD, event("update", 20.7, "10")), "was newer"),
        ((*GOOD, event("up", 21.0, "20")), "it was up"),
        ((event("update", 10.1), event("update", 20.6, "20")), "not up"),
        ((event("down", 9.0), *GOOD), "not up"),
        ((*GOOD, DOWN, event("down", 60.2, "20")), "not up"),
        ((*GOOD, event("current", 30.0)), "current, twice"),
        # Nothing but what was so.
        ((*GOOD, event("down", 30.0, "20")), "it lived"),
        ((event("up", 10.1, "15"), UPDATE), "it was not so"),
        ((event("up", 24.0), event("update", 24.1, "20")), "it was not so"),
        ((*GOOD, DOWN, event("up", 64.0, "20")), "it was not so"),
        ((*GOOD, event("up", 21.0, where="100.64.0.9:1")), "nobody offered"),
        ((UP, event("update", 20.6, "20", name="db")), "nobody offered"),
        # All of it.
        ((), "was not told of"),
        ((UP,), "as it was"),
        ((UP, UPDATE), "still told of"),
        ((UP, UPDATE, event("down", 64.0, "20")), "still told of"),
    ],
)
def test_what_is_not_is_found(truth: Truth, events: tuple[Event, ...], what: str) -> None:
    assert has(wrong(truth, *events, until=66.0), what)


def test_who_never_knows_everything_is_found(truth: Truth) -> None:
    assert has(wrong(truth, *GOOD, current=FOREVER, until=9.0), "everything") is False
    assert has(wrong(truth, *GOOD, current=FOREVER), "everything")
    truth.stopped[SEER] = [Span(0, 29)]
    assert not has(wrong(truth, *GOOD, current=FOREVER), "everything")


@pytest.mark.parametrize("since", [(5, None), (None, 5)])
def test_since_when_it_is_there_may_be_told_later(truth: Truth, since: tuple[int | None, int | None]) -> None:
    before, after = since
    told = [UP, event("update", 20.6, "20", before), event("update", 20.7, "20", after)]
    assert wrong(truth, *told) == []
    assert has(wrong(truth, *told, event("update", 20.8, "20", after)), "as new")


# Hosts that cannot reach each other


@pytest.mark.parametrize(
    ("spans", "good"),
    [
        ((Span(26, 32.1),), True),
        ((Span(26, 31.9),), False),
        ((Span(30.9, 35),), True),
        ((Span(31.1, 35),), False),  # three queries take longer
        ((Span(29, 31), Span(33, 33.5)), True),
        ((Span(34, 34.5),), False),
    ],
)
def test_who_was_out_of_reach_for_three_questions_may_be_down_until_three_seconds_after(
    truth: Truth, spans: tuple[Span, ...], good: bool
) -> None:
    events = (*GOOD, event("down", 35.0, "20"))
    truth.apart += [(frozenset(["alpha"]), span) for span in spans]
    assert (wrong(truth, *events, until=35.0) == []) is good


def test_those_who_were_parted_from_all_others_hear_each_other(truth: Truth) -> None:
    truth.apart.append((frozenset(["alpha", "bravo"]), Span(26, FOREVER)))
    assert has(wrong(truth, *GOOD, event("down", 35.0, "20"), until=35.0), "it lived")


def test_what_is_out_of_reach_stands_as_it_was_then_and_no_older(truth: Truth) -> None:
    truth.apart.append((frozenset(["alpha"]), Span(19, 28)))
    late = event("update", 32.9, "20")
    assert wrong(truth, UP, late, until=34.0) == []
    truth.apart[0] = frozenset(["alpha"]), Span(24, 28)  # and now there was time to learn it before
    assert has(wrong(truth, UP, late, until=34.0), "as it was")


def test_a_host_that_vanished_is_down_within_ten_seconds_be_its_programs_alive(truth: Truth) -> None:
    truth.apart.append((frozenset(["alpha"]), Span(30, FOREVER)))
    assert wrong(truth, *GOOD, event("down", 39.9, "20"), until=45.0) == []
    assert has(wrong(truth, *GOOD, event("down", 40.9, "20"), until=45.0), "vanished")


def test_what_changes_while_its_host_is_away_is_told_five_seconds_after(truth: Truth) -> None:
    truth.apart.append((frozenset(["alpha"]), Span(19, 30)))
    down = event("down", 28.0)
    assert wrong(truth, UP, down, event("up", 34.9, "20"), until=40.0) == []
    assert has(wrong(truth, UP, down, event("up", 35.5, "20"), until=40.0), "was not told of")


def test_who_begins_is_told_what_others_know_of_a_host_that_was_cut_off_a_moment_ago(truth: Truth) -> None:
    began = event("up", 29.0)
    assert has(wrong(truth, began, current=29.1), "it was not so")
    truth.apart.append((frozenset(["alpha"]), Span(22, FOREVER)))
    assert not has(wrong(truth, began, current=29.1, until=29.5), "it was not so")
    truth.apart[0][1].begin = 24  # at 24 s they knew that it was wrong
    assert has(wrong(truth, began, current=29.1, until=29.5), "it was not so")


# Stopped programs


@pytest.mark.parametrize(("stopped", "within"), [((), 3.0), ((Span(20, 20.5),), 3.5), ((Span(20, 23),), 4.5)])
def test_where_nobody_of_ones_own_host_answers_changes_are_told_as_much_later_and_a_second_and_a_half_at_most(
    truth: Truth, stopped: tuple[Span, ...], within: float
) -> None:
    truth.lives[2] = "bravo", Span(0, FOREVER)
    truth.stopped[2] = list(stopped)
    for late, good in ((within - 0.1, True), (within + 0.4, False)):
        events = UP, event("update", 20.5 + late, "20")
        assert (wrong(truth, *events) == []) is good


def test_where_somebody_else_of_ones_own_host_had_joined_nothing_is_late(truth: Truth) -> None:
    truth.lives |= {2: ("bravo", Span(0, FOREVER)), 3: ("bravo", Span(0, FOREVER))}
    truth.stopped[2] = [Span(20, 23)]
    events = UP, event("update", 24.9, "20")
    assert wrong(truth, *events) == []  # it is not certain that it has joined
    truth.joined[3] = 19.9
    assert has(wrong(truth, *events), "as it was")


def test_who_was_stopped_may_be_down_until_three_seconds_after(truth: Truth) -> None:
    events = *GOOD, event("down", 35.0, "20")
    truth.stopped[1] = [Span(31, 32.1)]
    assert wrong(truth, *events, until=35.0) == []
    truth.stopped[1] = [Span(31, 31.9)]
    assert has(wrong(truth, *events, until=35.0), "it lived")


def test_a_watcher_that_was_stopped_is_told_what_came_meanwhile_and_never_that_the_living_are_gone(
    truth: Truth,
) -> None:
    truth.stopped[SEER] = [Span(19, 29)]
    assert wrong(truth, UP, event("update", 29.1, "20"), until=34.0) == []
    assert has(wrong(truth, UP, event("down", 29.1), event("up", 29.2, "20"), until=34.0), "it lived")
    assert has(wrong(truth, UP, event("update", 32.5, "20"), until=34.0), "as it was")


# Lookups


def lookup(start: float, found: dict[str, Any], way: str = "new", silent: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"way": way, "start": start, "end": start + 0.1, "found": found, "silent": [*silent], "count": len(found)}


def false(truth: Truth, *lookups: dict[str, Any]) -> str:
    truth.forget()
    judged = Judge(truth, "bravo", SEER)
    return " ".join([*judged.invented([*lookups]), *judged.false([*lookups])])


NOTHING: dict[str, Any] = {}
BEFORE, AFTER = {WHERE: {"t": "10"}}, {WHERE: {"t": "20"}}


@pytest.mark.parametrize("way", ["new", "mirror", "kept"])
@pytest.mark.parametrize(
    ("start", "found", "what"),
    [
        (30.0, AFTER, ""),
        (30.0, NOTHING, "which lived"),
        (12.0, NOTHING, ""),
        (25.0, BEFORE, ""),
        (27.0, BEFORE, "as it was"),
        (62.0, AFTER, ""),
        (65.9, AFTER, ""),
        (66.1, AFTER, "which was gone"),
        (100.0, AFTER, "which was gone"),
        (30.0, AFTER | {"100.64.0.9:1": {}}, "nobody offered"),
    ],
)
def test_lookups_are_judged_by_what_lived_then(
    truth: Truth, start: float, found: dict[str, Any], way: str, what: str
) -> None:
    faults = false(truth, lookup(start, found, way))
    assert bool(faults) == bool(what)
    assert what in faults


@pytest.mark.parametrize(("way", "within"), [("new", 3.0), ("mirror", 3.0), ("kept", 6.0)])
def test_what_has_come_is_found_within_three_seconds_or_when_what_is_kept_has_run_out(
    truth: Truth, way: str, within: float
) -> None:
    assert not false(truth, lookup(10.0 + within - 0.1, NOTHING, way))
    assert "which lived" in false(truth, lookup(10.0 + within + 0.1, NOTHING, way))


def test_while_a_host_changes_hands_behind_one_that_is_stopped_who_has_just_begun_may_miss_it(truth: Truth) -> None:
    truth.lives |= {2: ("alpha", Span(0, 30)), 3: ("alpha", Span(0, 100))}
    truth.joined |= dict.fromkeys((1, 2, 3), 11.0)
    assert "which lived" in false(truth, lookup(30.5, NOTHING))
    truth.stopped[3] = [Span(25, 35)]
    assert not false(truth, lookup(30.5, NOTHING))
    assert "which lived" in false(truth, lookup(30.5, NOTHING, "kept"))
    assert "which lived" in false(truth, lookup(31.5, NOTHING))


def test_something_found_twice_is_found(truth: Truth) -> None:
    assert "twice" in false(truth, lookup(30.0, AFTER) | {"count": 2})


def test_what_is_out_of_reach_may_be_missed_until_five_seconds_after(truth: Truth) -> None:
    truth.apart.append((frozenset(["alpha"]), Span(20, 30)))
    assert not false(truth, lookup(34.8, NOTHING))
    assert "which lived" in false(truth, lookup(35.1, NOTHING))


def test_what_a_host_out_of_reach_has_said_stands_for_ten_seconds_and_for_thirty_where_it_is_named(
    truth: Truth,
) -> None:
    truth.apart.append((frozenset(["alpha"]), Span(59, FOREVER)))
    assert not false(truth, lookup(70.0, AFTER))
    assert "which was gone" in false(truth, lookup(74.0, AFTER))
    assert not false(truth, lookup(77.0, AFTER, "kept"))  # the answer was five seconds old
    assert "which was gone" in false(truth, lookup(79.0, AFTER, "kept"))
    assert not false(truth, lookup(90.0, AFTER, silent=("alpha",)))
    assert "which was gone" in false(truth, lookup(100.0, AFTER, silent=("alpha",)))


def test_where_nobody_is_left_a_host_may_be_named_as_silent_too(truth: Truth) -> None:
    """Its kernel limits the rate of ICMP errors."""
    assert not false(truth, lookup(70.0, AFTER, silent=("alpha",)))
    assert "which was gone" in false(truth, lookup(70.0, AFTER))


def test_to_name_a_host_that_is_in_reach_excuses_nothing(truth: Truth) -> None:
    truth.lives[2] = "alpha", Span(50, FOREVER)
    assert "which was gone" in false(truth, lookup(70.0, AFTER, silent=("alpha",)))
    assert "which lived" in false(truth, lookup(30.0, NOTHING, silent=("alpha",)))


def test_a_lookup_is_not_judged_where_who_asked_was_stopped_meanwhile(truth: Truth) -> None:
    truth.stopped[SEER] = [Span(29, 30.05)]
    assert not false(truth, lookup(30.0, NOTHING))
    assert "which lived" in false(truth, lookup(30.2, NOTHING))


# A whole history


def program(number: int, kind: str, said: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    host, address = ("alpha", "100.64.0.1") if kind == "restless" else ("bravo", "100.64.0.2")
    base = {"number": number, "kind": kind, "host": host, "address": address, "life": [0.0, FOREVER], "killed": None}
    return base | {"stopped": [], "said": said} | more


def history() -> judge.History:
    current = {"event": "current", "at": 1.0}
    programs = [
        program(
            1, "restless", [line(10, "10", done=False), line(10, "10"), line(20, "20", done=False), line(20, "20")]
        ),
        program(2, "onlooker", [current, *GOOD]),
        program(3, "inquirer", [lookup(second, AFTER) for second in range(24, 40)]),
    ]
    return {"end": 40.0, "apart": [], "programs": programs}


def judged(told: judge.History) -> list[judge.Fault]:
    return [*judge.wrong(told, judge.Counter())]


def test_every_watcher_and_inquirer_is_judged() -> None:
    good = history()
    assert judged(good) == []
    for who, begin in ((1, "onlooker 2 on bravo"), (2, "inquirer 3 on bravo")):
        bad = history()
        said = bad["programs"][who]["said"]
        said[:] = said[:1] if who == 1 else [each | {"found": {}, "count": 0} for each in said]
        faults = judged(bad)
        assert faults
        assert all(each.text.startswith(begin) for each in faults)


def test_only_what_was_told_too_late_is_late() -> None:
    told = history()
    said = told["programs"][1]["said"]
    said.append(said[-1])
    assert [fault.late for fault in judged(told)] == [False]
    told = history()
    told["programs"][2]["said"][-1] |= {"found": {}, "count": 0}
    assert [fault.late for fault in judged(told)] == [True]


def test_what_was_judged_is_counted() -> None:
    counts: judge.Counter[str] = judge.Counter()
    assert not [*judge.wrong(history(), counts)]
    assert (counts["up"], counts["update"], counts["new"], counts["found"]) == (1, 1, 16, 16)
    assert counts["looks"] > 100


def test_what_stands_at_the_end_is_told_by_those_who_offer_it() -> None:
    told = history()
    assert judge.last(judge.truth_of(told)) == {WHERE: {"t": "20"}}
    told["programs"][0] |= {"life": [0.0, 30.0], "killed": [30.0, 30.1]}
    assert judge.last(judge.truth_of(told)) == {}


def test_who_is_told_to_end_while_it_is_stopped_keeps_its_host_mute_until_it_has() -> None:
    told = history()
    said = [*told["programs"][0]["said"], line(38.0, None)]
    told["programs"][0] |= {"said": said, "stopped": [[30.0, 38.0]], "life": [0.0, 31.0]}
    (span,) = judge.truth_of(told).mute("alpha")
    assert (span.begin, span.end) == (30.0, 38.0)


def test_what_befell_the_eldest_is_told_apart() -> None:
    told = history()
    other = program(4, "restless", [line(12, "12", port=81)], killed=[15.0, 15.0], life=[11.0, 15.0])
    told["programs"].append(other)
    told["programs"][0]["stopped"] = [[14.0, 14.5], [30.0, 30.5]]
    assert judge.befell(told) == {"stop of the eldest": 1, "stop of the only one": 1, "kill of a younger one": 1}
