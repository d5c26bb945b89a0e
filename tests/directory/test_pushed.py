"""A directory that is told the network's state: what it says while it is followed, and when it asks again."""

from __future__ import annotations

import pytest
from played import ALPHA, APEX, BRAVO, CHARLIE

from mddns.base.model import Peer, Service, Snapshot, replace
from mddns.base.policy import Policy
from mddns.codec.instance_records import TTL
from mddns.directory.keeping_up import CAUGHT_UP, HELD
from mddns.directory.peer_memory import Memory
from mddns.directory.pushed import SETTLES, Followed, Hearing
from tests.directory.test_directory import service

EVERYBODY = Snapshot(ALPHA, (BRAVO, CHARLIE))
NOBODY: tuple[str, ...] = ()


def names(directory: Followed, now: float = 0.0) -> list[str]:
    hosts = {peer.id: peer.name for peer in (ALPHA, BRAVO, CHARLIE)}
    return [f"{each.name}@{hosts.get(each.via or '', each.via)}" for each in directory.services(now)]


def made(*peers: Peer) -> Followed:
    directory = Followed(APEX.wire, Memory(), Policy())
    directory.network(Snapshot(ALPHA, peers or (BRAVO, CHARLIE)), with_own_host=True)
    return directory


def followed(*services: Service, silent: tuple[str, ...] = NOBODY, now: float = 0.0) -> Followed:
    directory = made()
    directory.follow(lambda: services, silent, 2, now)
    return directory


def awake(directory: Followed, begin: float, end: float) -> None:
    """It has its turns meanwhile."""
    while begin < end:
        directory.alive(begin)
        begin += 1.0


def test_before_it_is_told_anything_everybody_is_due() -> None:
    directory = made()
    directory.alive(0.0)
    assert directory.due(0.0) == [ALPHA, BRAVO, CHARLIE]
    assert directory.stale(0.0)


def test_while_it_is_followed_nobody_is_due_and_nothing_stale_however_long_ago_it_was_told() -> None:
    directory = followed(service(BRAVO))
    for second in range(600):
        directory.alive(float(second))
    assert not directory.stale(600.0)
    assert not directory.stale(600.0, 0.0)
    assert directory.due(600.0, 0.0) == []
    assert names(directory, 600.0) == ["web@bravo"]


def test_records_hold_for_a_whole_ttl() -> None:
    directory = followed(service(BRAVO))
    directory.alive(3.0)
    assert directory.merged(3.0).ttl == TTL


def test_a_state_replaces_the_one_before_and_answers_that_were_kept_are_void() -> None:
    directory = followed(service(BRAVO))
    view, stirred = directory.merged(0.0), directory.stirred
    directory.follow(lambda: (service(BRAVO, port=81), service(CHARLIE)), NOBODY, 2, 0.1)
    assert directory.stirred != stirred
    assert directory.merged(0.1).zone is not view.zone
    assert names(directory) == ["web@bravo", "web@charlie"]


def test_the_same_state_told_faster_is_the_same_zone() -> None:
    directory = followed(replace(service(BRAVO), rtt_ms=1.0))
    view = directory.merged(0.0)
    directory.follow(lambda: (replace(service(BRAVO), rtt_ms=2.0),), NOBODY, 2, 0.1)
    assert directory.merged(0.1).zone is view.zone


def test_what_a_silent_registry_said_stands_until_it_is_named_no_more() -> None:
    directory = followed(service(BRAVO), service(CHARLIE))
    awake(directory, 0.0, 6.0)
    directory.memory.answered(BRAVO.id, 5.0, None)
    directory.follow(lambda: (service(CHARLIE),), ("bravo",), 2, 6.0)
    assert names(directory) == ["web@bravo", "web@charlie"]
    assert directory.merged(6.0).silent == ("bravo",)
    directory.follow(lambda: (service(CHARLIE),), NOBODY, 2, 30.0)
    assert names(directory) == ["web@charlie"]


def test_what_a_registry_that_is_not_silent_says_no_more_is_gone_at_once() -> None:
    directory = followed(service(BRAVO), service(CHARLIE))
    directory.follow(lambda: (service(CHARLIE),), NOBODY, 2, 0.1)
    assert names(directory) == ["web@charlie"]


def test_an_answer_that_comes_late_changes_nothing() -> None:
    directory = followed(service(BRAVO))
    directory.answered(BRAVO, [service(BRAVO, "old")], 0.1)
    directory.answered(BRAVO, [service(BRAVO, "old")], 0.1, name="old")
    directory.refused(BRAVO, 0.1)
    assert names(directory) == ["web@bravo"]


def test_without_a_turn_for_long_it_is_followed_no_more_until_it_has_caught_up() -> None:
    directory = followed(service(BRAVO))
    assert not directory.stale(HELD)
    assert directory.holds_until(TTL) == HELD
    assert directory.stale(HELD + 0.1)
    directory.alive(HELD + 1)  # what came meanwhile has not been read
    assert directory.due(HELD + 1) == [ALPHA, BRAVO, CHARLIE]
    assert directory.holds_until(TTL) < HELD
    directory.alive(HELD + 1 + CAUGHT_UP)
    assert not directory.stale(HELD + 1 + CAUGHT_UP)


def test_after_sleep_everybody_is_asked_and_what_was_known_stands_meanwhile() -> None:
    directory = followed(service(BRAVO))
    directory.memory.answered(BRAVO.id, 0.0, None)
    directory.slept(600.0, 600.0)
    directory.alive(600.0)
    assert directory.due(600.0) == [ALPHA, BRAVO, CHARLIE]
    directory.missed(BRAVO, 601.0)
    assert names(directory, 601.0) == ["web@bravo"]
    assert directory.merged(601.0).silent == ("bravo",)
    awake(directory, 601.0, 600.0 + SETTLES)
    directory.alive(600.0 + SETTLES)
    assert not directory.stale(600.0 + SETTLES)


@pytest.mark.parametrize(("told", "left"), [(10.0, []), (10.1, ["web@bravo"])])
def test_of_a_silent_registry_nothing_is_followed_that_it_said_thirty_seconds_ago(told: float, left: list[str]) -> None:
    """By a tenant, say, that took over: it has asked nobody since it began."""
    directory = made()
    directory.answered(BRAVO, [service(BRAVO)], told)
    directory.follow(lambda: (), ("bravo",), 2, 40.0)
    assert names(directory, 40.0) == left


@pytest.mark.parametrize("name", [None, "new"])
def test_what_was_told_before_we_were_stopped_does_not_replace_what_was_learned_by_asking_since(
    name: str | None,
) -> None:
    """Though nobody had asked for it until then."""
    directory = followed(service(BRAVO))
    assert names(directory) == ["web@bravo"]
    directory.follow(lambda: (service(BRAVO, "old"),), NOBODY, 2, 0.1)
    directory.alive(HELD + 1)
    directory.answered(BRAVO, [service(BRAVO, "new")], HELD + 1, name=name)
    assert "new@bravo" in names(directory, HELD + 1)


def test_what_a_silent_registry_said_is_followed_for_half_a_minute_however_long_we_slept_since() -> None:
    """By a tenant, say, that took over: who is gone is named as silent until it was silent for so long to us awake."""
    directory = made()
    directory.answered(BRAVO, [service(BRAVO)], 10.0)
    directory.slept(8.0, 20.0)
    directory.missed(BRAVO, 21.0)
    directory.follow(lambda: (), ("bravo",), 2, 20.0 + SETTLES)
    awake(directory, 20.0 + SETTLES, 37.0)
    assert directory.merged(37.0).ttl == 3
    awake(directory, 37.0, 40.0)
    assert names(directory, 39.0) == ["web@bravo"]
    directory.alive(40.0)
    assert names(directory, 40.0) == []


def test_what_was_learned_by_asking_after_sleep_is_replaced_when_it_is_followed_again() -> None:
    directory = followed(service(BRAVO))
    directory.slept(600.0, 600.0)
    directory.answered(BRAVO, [service(BRAVO, "old")], 600.5)
    assert names(directory, 600.5) == ["old@bravo"]
    directory.follow(lambda: (service(BRAVO, "new"),), NOBODY, 2, 601.0)
    assert names(directory, 601.0) == ["old@bravo"]
    directory.alive(600.0 + SETTLES)
    assert names(directory, 600.0 + SETTLES) == ["new@bravo"]


@pytest.mark.parametrize(("watched_until", "now", "left"), [(20.0, 49.9, ["web@charlie"]), (20.0, 50.0, [])])
def test_what_was_followed_before_we_were_stopped_is_told_for_half_a_minute_and_of_the_silent_no_longer(
    watched_until: float, now: float, left: list[str]
) -> None:
    """They are silent to us as well, when we go on; by a tenant, say, that was the host's holder before."""
    directory = followed(service(BRAVO), service(CHARLIE))
    directory.memory.answered(BRAVO.id, 1.0, None)
    directory.memory.answered(CHARLIE.id, watched_until, None)
    directory.memory.missed(BRAVO.id, 6.0)
    awake(directory, 0.0, watched_until)
    directory.follow(lambda: (service(CHARLIE),), ("bravo",), 2, watched_until)
    directory.slept(8.0, watched_until + 8.0)
    assert names(directory, watched_until + 8.0) == ["web@bravo", "web@charlie"]
    directory.missed(BRAVO, 31.0)
    directory.missed(CHARLIE, 31.0)
    directory.lapse(now)
    assert names(directory, now) == left


def test_what_was_followed_until_a_moment_ago_stands_however_long_ago_it_was_told() -> None:
    directory = followed(service(BRAVO))
    for second in range(600):
        directory.alive(float(second))
    directory.lapse(610.0)
    assert names(directory, 610.0) == ["web@bravo"]
    directory.lapse(630.0)
    assert names(directory, 630.0) == []


def test_who_left_the_network_takes_its_services_along() -> None:
    directory = followed(service(BRAVO), service(CHARLIE))
    directory.network(Snapshot(ALPHA, (CHARLIE,)), with_own_host=True)
    assert names(directory) == ["web@charlie"]


def test_a_service_of_whom_nobody_knows_who_said_so_is_there_all_the_same() -> None:
    directory = followed(replace(service(BRAVO), via="nobody"))
    assert names(directory) == ["web@nobody"]
    directory.follow(lambda: (), NOBODY, 2, 0.1)
    assert names(directory) == []


def test_what_our_own_host_offers_stands_beside_what_is_followed() -> None:
    directory = Followed(APEX.wire, Memory(), Policy())
    directory.network(Snapshot(ALPHA, (BRAVO, CHARLIE)), with_own_host=False)
    directory.own([service(ALPHA)])
    directory.follow(lambda: (service(BRAVO),), NOBODY, 2, 0.0)
    assert names(directory) == ["web@alpha", "web@bravo"]
    directory.own([service(ALPHA, "new")])
    assert names(directory) == ["new@alpha", "web@bravo"]


def test_what_is_followed_is_read_when_somebody_asks() -> None:
    read: list[int] = []

    def said(number: int) -> list[Service]:
        read.append(number)
        return [service(BRAVO)]

    directory = made()
    for number in range(3):
        directory.follow(lambda number=number: said(number), NOBODY, 2, 0.0)  # type: ignore[misc]
    assert read == []
    assert names(directory) == ["web@bravo"]
    assert names(directory) == ["web@bravo"]
    assert read == [2]


def test_when_nobody_watches_any_more_everybody_is_asked_and_what_was_known_stands_meanwhile() -> None:
    directory = followed(service(BRAVO))
    directory.leave()
    directory.alive(100.0)
    assert directory.due(100.0) == [ALPHA, BRAVO, CHARLIE]
    assert names(directory, 100.0) == ["web@bravo"]
    directory.answered(BRAVO, [], 101.0)
    assert names(directory, 101.0) == []


@pytest.mark.parametrize(("now", "ttl", "until"), [(8.0, 5, 25.0), (27.0, 3, 28.0), (29.5, 1, 30.0)])
def test_nothing_is_kept_for_longer_than_a_silent_peer_still_counts(now: float, ttl: int, until: float) -> None:
    directory = followed(service(BRAVO), service(CHARLIE))
    directory.memory.answered(BRAVO.id, 0.0, None)
    directory.memory.missed(BRAVO.id, 6.0)
    awake(directory, 0.0, now)
    directory.follow(lambda: (service(CHARLIE),), ("bravo",), 2, now)
    assert names(directory, now) == ["web@bravo", "web@charlie"]
    assert directory.merged(now).ttl == ttl
    assert directory.holds_until(TTL) == min(now + HELD, until)
    awake(directory, now, 30.0)
    directory.follow(lambda: (service(CHARLIE),), NOBODY, 2, 30.0)
    assert directory.merged(30.0).ttl == TTL


@pytest.mark.parametrize("watched_until", [10.0, 29.0])
def test_a_silent_peer_is_given_no_more_time_when_nobody_watches_any_more(watched_until: float) -> None:
    directory = followed(service(BRAVO))
    directory.memory.answered(BRAVO.id, 0.0, None)
    directory.memory.missed(BRAVO.id, 6.0)
    directory.follow(tuple, ("bravo",), 2, watched_until)
    directory.leave()
    assert names(directory, 29.9) == ["web@bravo"]
    assert names(directory, 30.0) == []


def test_what_a_peer_tells_whoever_watches_stands_in_place_of_what_it_said_before_it_was_silent() -> None:
    directory = made()
    hearing = Hearing(directory, Policy())
    hearing.network(EVERYBODY, with_own_host=True)
    directory.answered(BRAVO, (service(BRAVO, port=81),), 0.0)
    directory.asking((BRAVO,), 10.0)
    directory.missed(BRAVO, 11.0)
    directory.asked((BRAVO,))
    hearing.answered(BRAVO, (service(BRAVO),), 12.0)
    assert directory.silent(12.0) == NOBODY
    assert [each.endpoint.port for each in directory.services(12.0)] == [service(BRAVO).endpoint.port]


def test_who_refuses_whoever_watches_offers_nothing_any_more() -> None:
    directory = made()
    hearing = Hearing(directory, Policy())
    hearing.network(EVERYBODY, with_own_host=True)
    directory.answered(BRAVO, (service(BRAVO),), 0.0)
    hearing.refused(BRAVO, 1.0)
    assert names(directory, 1.0) == []


def test_what_whoever_watches_hears_of_whom_we_do_not_know_is_not_ours() -> None:
    directory = made(BRAVO)
    hearing = Hearing(directory, Policy())
    hearing.network(EVERYBODY, with_own_host=True)
    hearing.answered(CHARLIE, (service(CHARLIE),), 1.0)
    assert names(directory, 1.0) == []
