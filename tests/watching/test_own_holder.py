"""Whom a watcher asks, and what it takes over from the mirror of its own host's holder. Without sockets."""

from __future__ import annotations

import math
from typing import Any

from played import APEX

from mddns.base.model import Peer, Service, Snapshot
from mddns.base.policy import Policy
from mddns.directory.directory import Directory
from mddns.directory.peer_memory import Memory
from mddns.watching.host_state import HostState
from mddns.watching.mirror_zone import State, Stood, census
from mddns.watching.own_holder import AGREE_WITHIN, ALONE_FOR, HEARD_WITHIN, OwnHolder
from tests.watching.test_mirror_zone import ALPHA, BRAVO, Holder, service

OWN = Peer("own", ("100.64.0.9",), node="n9")
PEERS = (OWN, ALPHA, BRAVO)
REGISTRY, SILENT, UNHEARD = State


class Scene:
    """A watcher on `OWN`, and the mirror there."""

    def __init__(self, *, allowed: bool = True) -> None:
        self.directory = Directory(APEX.wire, Memory(), Policy())
        self.directory.network(Snapshot(OWN, (ALPHA, BRAVO), "net"), with_own_host=True)
        self.own_holder = OwnHolder(self.directory, allowed=allowed)
        self.hosts = {peer.id: HostState(peer, APEX, 0.0) for peer in PEERS}
        self.own, self.alpha, self.bravo = self.hosts.values()
        self.holder = Holder()
        self.own_holder.network(self.own, census(PEERS), 0.0)
        self.now = 0.0
        self.known = False
        self.mirrored = PEERS
        self.serials: dict[str, int] = {}  # of the mirror's copies

    def says(self, *services: Service, current: bool = True, **states: State | None) -> bool:
        """The mirror says so; whether that was taken over. Peers are registries, unless something else is said."""
        stood = []
        for peer in PEERS:
            state = states.get(peer.name, REGISTRY)
            if state:
                stood.append(Stood.of(state, peer, self.serials.get(peer.name)))
        self.holder.take(*services, stood=tuple(stood), current=current, peers=self.mirrored)
        self.holder.fill(self.own.copy)
        return self.look()

    def look(self) -> bool:
        self.now += 0.01
        return self.own_holder.told(self.hosts, "net", self.known, self.now, self.now)

    def ports(self) -> set[int]:
        return {each.endpoint.port for each in self.directory.services(self.now)}

    def asked(self) -> list[HostState]:
        return [host for host in self.hosts.values() if self.own_holder.asked_from(host, self.now) <= self.now]

    def hears(self, host: HostState, *services: Service, serial: int) -> None:
        """A session of our own with a host has told."""
        session: Any = object()
        host.session, host.copy.serial, host.spoke = session, serial, True
        self.directory.answered(host.peer, services, self.now)


def test_our_own_host_is_asked_alone_and_the_others_when_it_has_no_mirror() -> None:
    scene = Scene()
    assert scene.asked() == [scene.own]
    assert scene.own_holder.none(scene.hosts.values())
    assert len(scene.asked()) == 3
    assert not scene.own_holder.none(scene.hosts.values())


def test_the_others_are_asked_too_when_our_own_host_takes_too_long() -> None:
    scene = Scene()
    assert scene.own_holder.asked_from(scene.alpha, 0.0) == ALONE_FOR
    scene.now = ALONE_FOR
    assert len(scene.asked()) == 3


def test_who_may_not_attach_asks_everybody_at_once() -> None:
    assert len(Scene(allowed=False).asked()) == 3


def test_while_a_mirror_begins_what_it_has_heard_is_told_and_then_nobody_else_is_asked() -> None:
    scene = Scene()
    scene.hears(scene.own, service(OWN, 1), serial=5)
    assert scene.says(service(ALPHA, 80), current=False, bravo=UNHEARD, own=None)
    assert (scene.ports(), scene.own_holder.complete) == ({1, 80}, False)
    assert scene.says(service(OWN, 1), service(ALPHA, 80), service(BRAVO, 81))
    assert (scene.ports(), scene.own_holder.complete) == ({1, 80, 81}, True)
    scene.now = 100.0
    assert scene.asked() == [scene.own]
    assert scene.own_holder.asked_from(scene.alpha, scene.now) == math.inf


def test_what_was_known_stands_until_a_mirror_that_begins_has_heard_of_it() -> None:
    scene = Scene()
    scene.says(service(ALPHA, 80), service(BRAVO, 81))
    scene.own_holder.lost(scene.hosts.values(), scene.now)
    scene.known = True
    scene.says(current=False, alpha=UNHEARD, bravo=UNHEARD)
    assert (scene.ports(), scene.own_holder.complete) == ({80, 81}, False)
    assert scene.says(service(BRAVO, 82), alpha=UNHEARD)
    assert scene.ports() == {80, 82}
    assert scene.says(service(BRAVO, 82), alpha=None)
    assert scene.ports() == {82}


def test_whom_a_mirror_has_not_heard_of_is_asked_by_ourselves_where_something_is_known_of_it() -> None:
    """Each new MirrorsByApex waits again from the beginning for hosts that have vanished."""
    scene = Scene()
    scene.says(service(ALPHA, 80))
    scene.own_holder.lost(scene.hosts.values(), scene.now)
    scene.known = True
    scene.alpha.unanswered = 2
    scene.says(alpha=UNHEARD, bravo=UNHEARD)
    assert (scene.ports(), scene.own_holder.complete, scene.asked()) == ({80}, True, [scene.own])
    scene.now += HEARD_WITHIN
    assert scene.asked() == [scene.own, scene.alpha]
    scene.look()
    assert (scene.asked(), scene.alpha.unanswered) == ([scene.own, scene.alpha], 2)
    scene.directory.vanished(ALPHA, scene.now)
    scene.look()
    assert scene.asked() == [scene.own]


def test_when_the_session_is_lost_a_successor_is_asked_first() -> None:
    scene = Scene()
    scene.says()
    scene.now = 50.0
    scene.own_holder.lost(scene.hosts.values(), scene.now)
    assert scene.asked() == [scene.own]
    scene.now += ALONE_FOR
    assert len(scene.asked()) == 3


def test_a_mirror_that_has_not_heard_what_we_have_waits() -> None:
    """Nothing of what we know is told again, or taken back."""
    scene = Scene()
    scene.own_holder.none(scene.hosts.values())
    scene.known = True
    scene.hears(scene.alpha, service(ALPHA, 80), serial=100)
    for scene.serials in ({}, {"alpha": 99}):
        for states in ({}, {"alpha": UNHEARD}, {"alpha": SILENT}, {"alpha": None}):
            scene.says(**states)  # type: ignore[arg-type]
            assert (scene.ports(), scene.own_holder.complete) == ({80}, False)
    scene.serials = {"alpha": 100}
    assert scene.says(service(ALPHA, 80))
    assert scene.own_holder.complete


def test_while_a_mirror_is_waited_for_it_tells_of_our_own_host() -> None:
    scene = Scene()
    scene.own_holder.none(scene.hosts.values())
    scene.known = True
    scene.hears(scene.alpha, service(ALPHA, 80), serial=100)
    assert scene.says(service(OWN, 1))
    assert (scene.ports(), scene.own_holder.complete) == ({1, 80}, False)
    assert scene.says(service(OWN, 2))
    assert scene.ports() == {2, 80}


def test_what_we_heard_in_a_lookup_keeps_a_mirror_that_says_otherwise_waiting_for_a_while() -> None:
    """There is no serial to tell which of them is newer."""
    scene = Scene()
    scene.own_holder.none(scene.hosts.values())
    scene.hears(scene.alpha, service(ALPHA, 80), serial=100)
    scene.alpha.session, scene.alpha.heard_at = None, scene.now
    scene.says(service(ALPHA, 79))
    scene.says(alpha=None)
    assert (scene.ports(), scene.own_holder.complete) == ({80}, False)
    scene.now += AGREE_WITHIN
    assert scene.look()
    assert scene.ports() == set()


def test_a_mirror_that_says_the_same_as_we_have_heard_is_taken_at_once() -> None:
    scene = Scene()
    scene.own_holder.none(scene.hosts.values())
    scene.hears(scene.alpha, service(ALPHA, 80), serial=100)
    scene.alpha.session, scene.alpha.heard_at = None, scene.now
    assert scene.says(service(ALPHA, 80))


def test_what_we_heard_before_a_mirror_told_of_it_does_not_keep_the_next_one_waiting() -> None:
    scene = Scene()
    scene.own_holder.none(scene.hosts.values())
    scene.hears(scene.alpha, service(ALPHA, 80), serial=100)
    scene.alpha.session, scene.alpha.heard_at = None, scene.now
    scene.says(service(ALPHA, 80))
    scene.says(service(ALPHA, 81))
    scene.own_holder.lost(scene.hosts.values(), scene.now)
    scene.known = True
    scene.says(service(ALPHA, 82))
    assert (scene.ports(), scene.own_holder.complete) == ({82}, True)


def test_what_is_said_of_another_node_at_that_address_is_passed_over() -> None:
    scene = Scene()
    scene.says(service(ALPHA, 80))
    other = ALPHA._replace(node="n7")  # type: ignore[attr-defined]
    scene.hosts[ALPHA.id] = HostState(other, APEX, 0.0)
    scene.directory.network(Snapshot(OWN, (other, BRAVO), "net"), with_own_host=True)
    scene.look()
    assert scene.ports() == set()


def test_who_is_silent_is_named_and_what_it_said_stands() -> None:
    scene = Scene()
    scene.says(service(ALPHA, 80))
    scene.says(service(ALPHA, 80), alpha=SILENT)
    assert (scene.ports(), scene.directory.silent(scene.now)) == ({80}, ("alpha",))
    scene.says(service(ALPHA, 80))
    assert scene.directory.silent(scene.now) == ()


def test_what_we_heard_ourselves_since_is_not_taken_for_what_the_mirror_said() -> None:
    """It said the same before we asked for ourselves, and after."""
    scene = Scene()
    scene.says(service(ALPHA, 80), current=False)
    scene.own_holder.none(scene.hosts.values())
    scene.hears(scene.alpha, serial=3)
    scene.alpha.session = None
    scene.says(service(ALPHA, 80))
    assert scene.ports() == {80}


def test_a_host_that_is_none_of_ours_changes_nothing() -> None:
    scene = Scene()
    scene.own_holder.network(None, census(PEERS), 0.0)
    assert len(scene.asked()) == 3
    assert not scene.look()


def test_peers_that_the_mirror_does_not_know_of_are_asked_by_ourselves() -> None:
    """The holder was told of another network. What it knows of comes from it."""
    scene = Scene()
    scene.mirrored = (OWN, ALPHA)
    assert scene.says(service(ALPHA, 80), bravo=None)
    assert scene.own_holder.complete
    assert not scene.own_holder.whole
    assert scene.asked() == [scene.own, scene.bravo]
    scene.hears(scene.bravo, service(BRAVO, 81), serial=7)
    scene.bravo.polled = True
    assert scene.own_holder.whole
    scene.look()
    assert scene.ports() == {80, 81}
    scene.mirrored, scene.serials = PEERS, {"bravo": 6}
    scene.says(service(ALPHA, 80))
    assert scene.ports() == {80, 81}
    scene.serials = {"bravo": 7}
    scene.says(service(ALPHA, 80), service(BRAVO, 81))
    assert scene.asked() == [scene.own]


def test_nobody_is_at_a_peer_that_the_mirror_knows_of_and_does_not_name() -> None:
    scene = Scene()
    scene.says(service(ALPHA, 80), bravo=None)
    assert scene.asked() == [scene.own]
    assert scene.bravo.heard


def test_a_mirror_that_knows_less_than_the_one_before_it_is_waited_for() -> None:
    """It was stopped meanwhile, or starved. What it says without a serial it has asked since it began."""
    scene = Scene()
    scene.serials = {"alpha": 100, "bravo": 7}
    scene.says(service(ALPHA, 80), service(BRAVO, 81))
    scene.own_holder.lost(scene.hosts.values(), scene.now)
    scene.known = True
    scene.serials = {"alpha": 99}
    scene.says(service(ALPHA, 79), service(BRAVO, 82))
    assert (scene.ports(), scene.own_holder.waits) == ({80, 82}, True)
    scene.serials = {"alpha": 101, "bravo": 8}
    scene.says(service(ALPHA, 79), service(BRAVO, 82))
    assert (scene.ports(), scene.own_holder.waits) == ({79, 82}, False)


def test_it_is_not_waited_for_without_end() -> None:
    scene = Scene()
    scene.serials = {"alpha": 100}
    scene.says(service(ALPHA, 80))
    scene.own_holder.lost(scene.hosts.values(), scene.now)
    scene.serials = {"alpha": 99}
    scene.says(service(ALPHA, 79))
    scene.now += AGREE_WITHIN + 1
    scene.look()
    assert scene.ports() == {79}
