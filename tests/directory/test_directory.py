"""All services by where they were learned: who has to be asked, what is known, what is dropped."""

from __future__ import annotations

import pytest
from played import ALPHA, APEX, BRAVO, CHARLIE

from mddns.base.model import Endpoint, Peer, Service, Snapshot, replace
from mddns.base.policy import Policy
from mddns.codec.instance_records import TTL
from mddns.directory.directory import Directory
from mddns.directory.peer_memory import Memory, Standing
from mddns.directory.source import NEGATIVE_TTL

EVERYBODY = Snapshot(ALPHA, (BRAVO, CHARLIE))


def directory(policy: Policy | None = None) -> Directory:
    made = Directory(APEX.wire, Memory(), policy or Policy())
    made.network(EVERYBODY, with_own_host=False)
    return made


def service(peer: Peer, name: str = "web", port: int = 80) -> Service:
    address = peer.addresses[0]
    return Service(name, {}, Endpoint.of(address, port), (address,), via=peer.id, instance=f"{peer.name}-{port}")


def names(made: Directory, now: float = 0.0) -> list[str]:
    return [f"{each.name}@{each.via}" for each in made.services(now)]


# Who is to be asked


def test_nobody_is_known_before_the_first_list() -> None:
    made = Directory(APEX.wire, Memory(), Policy())
    assert not made.ready
    made.network(Snapshot(None, ()), with_own_host=False)
    assert made.ready


def test_our_own_host_is_asked_only_by_those_who_are_not_its_holder() -> None:
    made = directory()
    assert made.due(0.0) == [BRAVO, CHARLIE]
    made.network(EVERYBODY, with_own_host=True)
    assert made.due(0.0) == [ALPHA, BRAVO, CHARLIE]


def test_who_is_not_to_be_asked_is_not() -> None:
    made = directory()
    made.network(Snapshot(ALPHA, (BRAVO, replace(CHARLIE, asked=False))), with_own_host=False)
    assert made.peers == (BRAVO,)


def test_each_is_due_once_a_ttl() -> None:
    made = directory()
    made.asking([BRAVO], 0.0)
    assert made.due(0.0) == [CHARLIE]
    made.asking([CHARLIE], 2.0)
    assert made.due(TTL - 0.1) == []
    assert made.due(TTL) == [BRAVO]
    assert made.due(TTL + 2.0) == [BRAVO, CHARLIE]


def test_sooner_where_the_caller_wants_it_fresher() -> None:
    made = directory()
    made.asking([BRAVO, CHARLIE], 0.0)
    assert made.due(0.9, NEGATIVE_TTL) == []
    assert made.due(1.0, NEGATIVE_TTL) == [BRAVO, CHARLIE]
    assert made.due(1.0) == []


def test_while_they_are_being_asked_what_is_known_is_stale() -> None:
    made = directory()
    made.asking([BRAVO, CHARLIE], 0.0)
    assert made.stale(0.0)
    made.asked([BRAVO])
    assert made.stale(0.0)
    made.asked([CHARLIE])
    assert not made.stale(0.0)


def test_paused_peers_are_not_due_until_they_are_heard_of() -> None:
    made = directory()
    made.refused(BRAVO, 0.0)
    made.refused(BRAVO, 0.0)
    assert made.due(9.9) == [CHARLIE]
    made.heard(BRAVO.id)
    assert made.due(9.9) == [BRAVO, CHARLIE]


def test_who_answers_for_its_host_from_now_on_leaves_nobody_alone() -> None:
    """Who began meanwhile has told another one so."""
    made = directory()
    made.refused(BRAVO, 0.0)
    assert BRAVO not in made.due(4.0)
    made.begun()
    made.expire()
    assert BRAVO in made.due(4.0)


def test_expired_all_are_due_and_what_they_said_stands() -> None:
    made = directory()
    made.answered(BRAVO, [service(BRAVO)], 0.0)
    made.answered(CHARLIE, [], 0.0)
    made.expire()
    assert made.due(0.0) == [BRAVO, CHARLIE]
    assert names(made) == [f"web@{BRAVO.id}"]


# What is known


def test_what_a_peer_says_replaces_all_that_it_said() -> None:
    made = directory()
    made.answered(BRAVO, [service(BRAVO), service(BRAVO, "db")], 0.0)
    made.answered(CHARLIE, [service(CHARLIE)], 0.0)
    made.answered(BRAVO, [service(BRAVO, "db")], 1.0)
    assert names(made) == [f"db@{BRAVO.id}", f"web@{CHARLIE.id}"]


def test_what_it_says_of_one_name_replaces_what_it_said_of_that_name() -> None:
    made = directory()
    made.answered(BRAVO, [service(BRAVO), service(BRAVO, "db")], 0.0)
    made.answered(BRAVO, [service(BRAVO, port=81)], 1.0, name="web")
    assert sorted(str(each.endpoint) for each in made.services(1.0)) == ["100.64.0.2:80", "100.64.0.2:81"]
    made.answered(BRAVO, [], 2.0, name="web")
    assert names(made, 2.0) == [f"db@{BRAVO.id}"]


def test_services_of_other_names_in_an_answer_by_name_are_not_learned() -> None:
    made = directory()
    made.answered(BRAVO, [service(BRAVO, "WEB"), service(BRAVO, "db")], 0.0, name="web")
    assert names(made) == [f"WEB@{BRAVO.id}"]


def asked_for(made: Directory, name: str | None, now: float) -> list[Peer]:
    return [peer for peer, _ in made.to_ask(name, now)]


def test_by_name_a_peer_is_asked_again_when_what_it_has_is_out_of_date() -> None:
    made = directory()
    made.answered(BRAVO, [service(BRAVO)], 0.0, name="web")
    made.answered(CHARLIE, [], 0.0, name="web")
    assert asked_for(made, "web", 0.9) == []
    assert asked_for(made, "web", 1.0) == [CHARLIE]  # that it has nothing stands for a second
    assert asked_for(made, "web", 4.9) == [CHARLIE]
    assert asked_for(made, "web", 5.0) == [BRAVO, CHARLIE]
    assert asked_for(made, "db", 0.1) == [BRAVO, CHARLIE]
    assert asked_for(made, None, 0.1) == [BRAVO, CHARLIE]


def test_who_told_everything_needs_not_be_asked_by_name() -> None:
    made = directory()
    made.answered(BRAVO, [service(BRAVO)], 0.0)
    assert asked_for(made, "web", 4.9) == [CHARLIE]
    assert asked_for(made, "db", 4.9) == [CHARLIE]
    assert asked_for(made, None, 4.9) == [CHARLIE]
    assert asked_for(made, None, 5.0) == [BRAVO, CHARLIE]


def test_a_lookup_is_told_what_each_is_owed() -> None:
    made = directory()
    made.answered(BRAVO, [], 0.0)
    assert made.to_ask(None, 10.0) == [(BRAVO, Standing.REGISTRY), (CHARLIE, Standing.NEW)]


def test_who_has_just_refused_is_left_alone_for_a_moment() -> None:
    made = directory()
    made.refused(BRAVO, 0.0)
    assert asked_for(made, "web", 0.5) == [CHARLIE]
    assert asked_for(made, "web", 1.0) == [BRAVO, CHARLIE]


def test_our_own_services_are_known_without_asking() -> None:
    made = directory()
    made.own([service(ALPHA)])
    assert names(made) == [f"web@{ALPHA.id}"]
    made.own([])
    assert names(made) == []


def test_a_service_told_by_several_is_one_and_its_own_nodes_word_stands() -> None:
    made = directory()
    told = service(BRAVO)
    made.answered(CHARLIE, [replace(told, via=CHARLIE.id, remote=True, labels={"a": "lie"})], 0.0)
    made.answered(BRAVO, [told], 0.0)
    assert made.services(0.0) == [told]


def test_policy_is_asked_as_services_enter() -> None:
    made = directory(Policy(remote=False))
    made.answered(BRAVO, [service(BRAVO), replace(service(BRAVO, "db"), remote=True)], 0.0)
    made.answered(CHARLIE, [replace(service(CHARLIE, "db"), remote=True)], 0.0, name="db")
    assert names(made) == [f"web@{BRAVO.id}"]


def test_an_instance_that_is_held_back_is_not_learned() -> None:
    """`md.held` counts in answers to `_held` alone, which the directory does not learn."""
    made = directory()
    held = replace(service(BRAVO, port=81), held="tcp: refused")
    made.answered(BRAVO, [service(BRAVO), held], 0.0)
    made.answered(CHARLIE, [replace(service(CHARLIE), held="tcp: refused")], 0.0, name="web")
    assert names(made) == [f"web@{BRAVO.id}"]


def test_asking_for_many_names_keeps_the_latest_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mddns.directory.directory._MOST_NAMES", 20)
    made = directory()
    for number in range(200):
        made.answered(BRAVO, [service(BRAVO, f"n{number}")], float(number), name=f"n{number}")
        assert len(made.services(float(number))) <= 20
    assert f"n199@{BRAVO.id}" in names(made)


# Who leaves


def test_what_a_gone_peer_said_is_dropped_and_back_when_it_answers() -> None:
    made = directory()
    made.answered(BRAVO, [service(BRAVO)], 0.0)
    made.missed(BRAVO, 6.0)
    assert names(made, 29.9) == [f"web@{BRAVO.id}"]
    assert made.silent(29.9) == ("bravo",)
    assert names(made, 30.0) == []
    assert made.silent(30.0) == ()
    made.answered(BRAVO, [service(BRAVO)], 31.0)
    assert names(made, 31.0) == [f"web@{BRAVO.id}"]


def test_what_was_told_long_ago_is_dropped_when_its_peer_is_asked_in_vain() -> None:
    """It may well count still, as nobody asked it in between."""
    made = directory()
    made.answered(BRAVO, [service(BRAVO)], 0.0)
    made.answered(CHARLIE, [service(CHARLIE)], 31.0)
    made.missed(BRAVO, 31.0)
    assert names(made, 31.0) == [f"web@{BRAVO.id}", f"web@{CHARLIE.id}"]
    made.lapse(31.0)
    assert names(made, 31.0) == [f"web@{CHARLIE.id}"]
    assert made.silent(31.0) == ("bravo",)


def test_each_name_lapses_by_itself() -> None:
    made = directory()
    made.answered(BRAVO, [service(BRAVO), service(BRAVO, "db")], 0.0)
    made.answered(BRAVO, [service(BRAVO, "db")], 20.0, name="db")
    made.lapse(29.9)
    assert names(made, 29.9) == [f"web@{BRAVO.id}", f"db@{BRAVO.id}"]
    made.lapse(30.0, "db")
    assert names(made, 30.0) == [f"web@{BRAVO.id}", f"db@{BRAVO.id}"]
    made.lapse(30.0)
    assert names(made, 30.0) == [f"db@{BRAVO.id}"]
    made.lapse(50.0, "db")
    assert names(made, 50.0) == []


def test_what_is_to_be_asked_anew_is_no_older_for_that() -> None:
    made = directory()
    made.answered(BRAVO, [service(BRAVO)], 0.0)
    made.expire()
    made.lapse(1.0)
    assert names(made, 1.0) == [f"web@{BRAVO.id}"]


def test_what_was_told_long_before_we_woke_is_dropped_when_who_said_it_is_silent_but_silent_it_is() -> None:
    """What it said may have changed meanwhile; that it is no registry any more, nobody has found."""
    made = directory()
    made.answered(BRAVO, [service(BRAVO)], 0.0)
    made.answered(CHARLIE, [service(CHARLIE)], 0.0)
    made.slept(600.0, 601.0)
    assert len(names(made, 601.0)) == 2
    made.answered(CHARLIE, [service(CHARLIE)], 601.1)
    made.missed(BRAVO, 602.0)
    made.lapse(602.0)
    assert names(made, 602.0) == [f"web@{CHARLIE.id}"]
    assert made.silent(602.0) == (BRAVO.shown,)


def test_who_refuses_has_nothing() -> None:
    made = directory()
    made.answered(BRAVO, [service(BRAVO)], 0.0)
    made.refused(BRAVO, 1.0)
    assert names(made, 1.0) == []


def test_who_leaves_the_network_takes_its_services_along() -> None:
    made = directory()
    made.answered(BRAVO, [service(BRAVO)], 0.0)
    made.network(Snapshot(ALPHA, (CHARLIE,)), with_own_host=False)
    assert names(made) == []


def test_who_left_while_it_was_asked_is_not_learned_from() -> None:
    """Nobody would ask it again, so that what it said would stand for ever."""
    made = directory()
    made.asking([BRAVO], 0.0)
    made.network(Snapshot(ALPHA, (CHARLIE,)), with_own_host=False)
    made.answered(BRAVO, [service(BRAVO)], 0.1)
    made.answered(BRAVO, [service(BRAVO)], 0.1, name="web")
    made.missed(BRAVO, 0.2)
    made.refused(BRAVO, 0.2)
    assert names(made) == []
    assert made.memory.standing(BRAVO.id, 0.2) is Standing.NEW


# The merged view


def test_the_merged_zone_is_rendered_again_only_when_something_has_changed() -> None:
    made = directory()
    made.answered(BRAVO, [service(BRAVO)], 0.0)
    zone = made.merged(0.0).zone
    made.answered(BRAVO, [service(BRAVO)], 5.0)
    assert made.merged(5.0).zone is zone
    made.answered(BRAVO, [service(BRAVO), service(BRAVO, "db")], 10.0)
    assert made.merged(10.0).zone is not zone


@pytest.mark.parametrize(("now", "ttl"), [(0.0, 5), (0.5, 5), (1.0, 4), (4.5, 1), (4.99, 1)])
def test_ttl_is_of_the_oldest_word_that_still_holds(now: float, ttl: int) -> None:
    made = directory()
    made.answered(BRAVO, [service(BRAVO)], 0.0)
    made.answered(CHARLIE, [service(CHARLIE)], 3.0)
    assert made.merged(now).ttl == ttl


@pytest.mark.parametrize(("now", "ttl"), [(24.0, 5), (27.0, 3), (29.5, 1)])
def test_nothing_is_kept_for_longer_than_a_silent_peer_still_counts(now: float, ttl: int) -> None:
    """Else it would be told for five seconds more, by whoever keeps it."""
    made = directory()
    made.answered(BRAVO, [service(BRAVO)], 0.0)
    made.missed(BRAVO, 5.0)
    made.answered(CHARLIE, [service(CHARLIE)], now)
    before = made.merged(now)
    assert before.ttl == ttl
    assert made.merged(30.0).zone is not before.zone


def test_what_is_out_of_date_makes_no_ttl_negative() -> None:
    made = directory()
    made.answered(BRAVO, [service(BRAVO)], 0.0)
    assert 0 <= made.merged(1000.0).ttl <= TTL


def test_whatever_changes_an_answer_is_noticed() -> None:
    """`stirred` is what kept answers hang on."""
    made = directory()
    seen = [made.stirred]

    def stirs() -> bool:
        seen.append(made.stirred)
        return seen[-1] != seen[-2]

    made.answered(BRAVO, [service(BRAVO)], 0.0)
    assert stirs()
    made.own([service(ALPHA)])
    assert stirs()
    made.own([service(ALPHA)])
    assert not stirs()
    made.missed(BRAVO, 6.0)
    assert stirs()
    made.refused(CHARLIE, 6.0)
    assert stirs()
    made.heard(CHARLIE.id)
    assert stirs()
    made.network(EVERYBODY, with_own_host=False)
    assert stirs()
    made.expire()
    assert stirs()


# An address that belongs to another node


def two(node: str, name: str = "bravo") -> Snapshot:
    return Snapshot(None, (Peer(name, ("100.64.0.2",), node=node),))


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (two("n1"), two("n2")),
        (two("n1 key1 bravo.one.ts.net."), two("n2 key1 bravo.one.ts.net.")),
        (two("1 key1 bravo.one.example."), two("1 key2 bravo.other.example.", "bravo")),
        (two("1  bravo.one.example."), two("1  bravo.other.example.")),
    ],
    ids=["another-node", "another-id", "another-tailnet", "another-tailnet-without-keys"],
)
def test_what_the_former_owner_of_an_address_said_is_dropped_at_once(before: Snapshot, now: Snapshot) -> None:
    """At the very address: its id, by which everything is kept, is the same."""
    made = Directory(APEX.wire, Memory(), Policy())
    made.network(before, with_own_host=False)
    former = made.peers[0]
    made.answered(former, [service(former)], 0.0, rtt=0.1)
    made.network(now, with_own_host=False)
    assert made.services(0.0) == []
    assert made.due(0.0) == list(now.peers)
    assert made.memory.standing(former.id, 0.0) is Standing.NEW


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (two("n1 key1 bravo.one.ts.net."), two("n1 key1 omega.one.ts.net.", "omega")),
        (two("n1 key1 bravo.one.ts.net."), two("n1 key1 bravo.other.ts.net.")),
        (two("n1 key1 bravo.one.ts.net."), two("n1 key2 bravo.one.ts.net.")),
        (two(""), two("", "omega")),
    ],
    ids=["machine", "tailnet", "key", "static"],
)
def test_a_node_that_is_renamed_keeps_what_it_said_under_its_new_name(before: Snapshot, now: Snapshot) -> None:
    made = Directory(APEX.wire, Memory(), Policy())
    made.network(before, with_own_host=False)
    bravo = made.peers[0]
    made.answered(bravo, [replace(service(bravo), host=bravo.name)], 0.0, rtt=0.1)
    made.network(now, with_own_host=False)
    assert [each.host for each in made.services(0.0)] == [now.peers[0].name]
    assert made.due(0.0) == []
    assert made.memory.standing(made.peers[0].id, 0.0) is Standing.REGISTRY


def test_what_the_former_owner_still_says_is_not_learned() -> None:
    """Its answer was under way when the address went to another one."""
    made = Directory(APEX.wire, Memory(), Policy())
    made.network(two("n1"), with_own_host=False)
    former = made.peers[0]
    made.asking([former], 0.0)
    made.network(two("n2"), with_own_host=False)
    made.answered(former, [service(former)], 0.1)
    made.answered(former, [service(former)], 0.1, name="web")
    made.missed(former, 0.1)
    assert made.services(0.2) == []
    assert made.memory.standing(former.id, 0.2) is Standing.NEW


def test_who_stays_itself_keeps_what_it_said() -> None:
    """However else it changes: online, tags, a second address."""
    made = Directory(APEX.wire, Memory(), Policy())
    made.network(two("n1"), with_own_host=False)
    bravo = made.peers[0]
    made.answered(bravo, [service(bravo)], 0.0)
    changed = replace(bravo, online=False, tags=("tag:x",), addresses=("100.64.0.2", "fd7a::2"))
    made.network(Snapshot(None, (changed,)), with_own_host=False)
    assert [each.name for each in made.services(0.1)] == ["web"]
