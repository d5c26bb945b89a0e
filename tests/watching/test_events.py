"""Views of a network as events: tables, and sequences that are legal whatever was seen and read in which order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mddns.base.model import Endpoint, Service, replace
from mddns.watching.events import Changes, Event


def web(number: int = 1, version: str = "1", name: str = "web", since: int = 0) -> Service:
    return Service(name, {"v": version}, Endpoint(f"100.64.0.{number}:80"), since=since)


ONE, OTHER, SECOND = web(), web(version="2"), web(2)


def taken(changes: Changes) -> list[tuple[str, Service | None]]:
    events = []
    while event := changes.take():
        events.append((event.kind, event.service))
    return events


@pytest.mark.parametrize(
    ("views", "told"),
    [
        ([[ONE]], [("up", ONE)]),
        ([[ONE], [ONE]], []),
        ([[ONE], [replace(ONE, rtt_ms=3.0)]], []),
        ([[ONE], [OTHER]], [("update", OTHER)]),
        ([[ONE], []], [("down", ONE)]),
        ([[ONE], [SECOND]], [("down", ONE), ("up", SECOND)]),
        ([[ONE], [ONE, web(name="db")]], [("up", web(name="db"))]),
    ],
)
def test_what_the_last_view_brings_to_who_has_read_those_before(views: list[list[Service]], told: object) -> None:
    changes = Changes()
    for view in views[:-1]:
        changes.see(view)
        taken(changes)
    changes.see(views[-1])
    assert taken(changes) == told


@pytest.mark.parametrize(
    ("views", "told"),
    [
        ([[ONE], []], []),
        ([[ONE], [OTHER]], [("up", OTHER)]),
        ([[ONE], [OTHER], [], [SECOND]], [("up", SECOND)]),
    ],
)
def test_who_reads_none_of_the_views_is_told_of_the_last(views: list[list[Service]], told: object) -> None:
    changes = Changes()
    for view in views:
        changes.see(view)
    assert taken(changes) == told


def test_several_updates_that_wait_are_one_and_a_return_to_what_was_told_is_none() -> None:
    changes = Changes()
    changes.see([ONE])
    taken(changes)
    changes.see([OTHER])
    changes.see([web(version="3")])
    assert len(changes) == 1
    changes.see([])
    changes.see([ONE])
    assert (len(changes), taken(changes)) == (0, [])


def test_current_comes_once_behind_what_was_seen_before_it() -> None:
    changes = Changes()
    changes.see([ONE])
    changes.current()
    changes.current()
    changes.see([ONE, SECOND])
    assert taken(changes) == [("up", ONE), ("current", None), ("up", SECOND)]
    changes.current()
    assert taken(changes) == []


def test_another_name_is_not_told_of_and_a_label_that_changes_brings_up_and_down() -> None:
    changes = Changes("WEB", {"v": "1"})
    changes.see([ONE, web(name="db")])
    assert taken(changes) == [("up", ONE)]
    changes.see([OTHER])
    assert taken(changes) == [("down", ONE)]
    changes.see([ONE])
    assert taken(changes) == [("up", ONE)]


def test_a_name_in_another_case_is_the_same_instance_updated() -> None:
    changes = Changes()
    changes.see([ONE])
    taken(changes)
    changes.see([replace(ONE, name="Web")])
    assert [kind for kind, _ in taken(changes)] == ["update"]


def oldest(services: list[Service]) -> Service | None:
    return min(services, key=lambda each: (each.since or 0, each.endpoint), default=None)


def test_a_leader_is_told_when_it_is_up_and_when_it_is_another() -> None:
    changes = Changes(lead=oldest)
    old, young = web(1, since=1), web(2, since=2)
    changes.see([young])
    assert taken(changes) == [("up", young), ("leader", young)]
    changes.see([young, old])
    assert taken(changes) == [("up", old), ("leader", old)]
    changes.see([replace(young, labels={}), old])
    assert [kind for kind, _ in taken(changes)] == ["update"]
    changes.see([young])
    assert [kind for kind, _ in taken(changes)] == ["down", "update", "leader"]
    changes.see([])
    assert [kind for kind, _ in taken(changes)] == ["down"]


def test_events_as_json() -> None:
    assert Event("current").to_json() == {"event": "current"}
    assert Event("up", ONE).to_json() == {"event": "up", "service": ONE.to_json()}


services = st.builds(web, st.integers(1, 4), st.sampled_from("12"), st.sampled_from(["web", "db"]), st.integers(1, 3))
views = st.lists(services, max_size=6, unique_by=lambda service: service.key)
steps = st.lists(st.tuples(views, st.integers(0, 4), st.booleans()), max_size=12)


@given(steps)
def test_every_sequence_is_legal_bounded_and_ends_at_the_last_view(made: list[tuple[list[Service], int, bool]]) -> None:
    changes, standing, leads = Changes(lead=oldest), dict[object, Service](), dict[str, Service]()
    seen, currents = set[object](), 0

    def follow(event: Event) -> None:
        nonlocal currents
        service = event.service
        if service is None:
            currents += 1
            return
        before = standing.get(service.key)
        if event.kind == "up":
            assert before is None
        elif event.kind == "leader":
            assert before is not None
            assert leads.get(service.name) is None or leads[service.name].key != service.key
            leads[service.name] = service
            return
        else:
            assert before is not None
            assert (event.kind == "down") == (before == service)
        if event.kind == "down":
            del standing[service.key]
            if (leader := leads.get(service.name)) and leader.key == service.key:
                del leads[service.name]
        else:
            standing[service.key] = service

    last: list[Service] = []
    for view, count, current in made:
        changes.see(view)
        seen |= {service.key for service in view}
        if current:
            changes.current()
        assert len(changes) <= len(seen) + 2 + 1
        for _ in range(count):
            if event := changes.take():
                follow(event)
        last = view
    while event := changes.take():
        follow(event)
    names = {service.name for service in last}
    expected = {name: oldest([service for service in last if service.name == name]) for name in names}
    assert {name: leader.key for name, leader in leads.items()} == {
        name: leader.key for name, leader in expected.items() if leader
    }
    assert sorted(map(str, standing.values())) == sorted(map(str, last))
    assert currents == any(current for _, _, current in made)
