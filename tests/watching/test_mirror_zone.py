"""What a holder tells beside the merged zone: written, transferred and read, it is what was there."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from played import APEX

from mddns.base.errors import BadMessage
from mddns.base.model import Endpoint, Peer, Service
from mddns.base.policy import Policy
from mddns.directory.directory import Directory
from mddns.directory.peer_memory import Memory
from mddns.dns.message import TXT
from mddns.dns.writer import RRset
from mddns.responder.reaction import Messages
from mddns.responder.responder import Client, Responder
from mddns.watching.mirror_zone import OWNER, Marker, MirrorCopy, Standings, State, Stood, Words, census
from mddns.zone.merged_zone import MergedZone
from mddns.zone.secondary import Progress
from mddns.zone.zone import Node, Zone

MS = 1_800_000_000_000
ALPHA = Peer("alpha", ("100.64.0.1", "fd7a::1"), owner="ada@example.com", node="n1")
BRAVO = Peer("bravo", ("100.64.0.2",), tags=("tag:db",), node="n2")
PEERS = {peer.id: peer for peer in (ALPHA, BRAVO)}


def service(peer: Peer, port: int = 80, address: str = "", **what: object) -> Service:
    """As `peer` tells it."""
    given = {
        "name": "web",
        "labels": {},
        "endpoint": Endpoint.of(address or peer.addresses[0], port),
        "addresses": (address or peer.addresses[0],),
        "host": peer.name,
        "owner": peer.owner,
        "tags": peer.tags,
        "via": peer.id,
        "network": "net",
        "remote": bool(address),
        "since": MS,
        "instance": f"{peer.name}-{port}",
        "rtt_ms": 0.25,
    }
    return Service(**(given | what))  # type: ignore[arg-type]


class Holder:
    """The holder's side: a zone that takes states, and what answers for it."""

    def __init__(self) -> None:
        self.marker, self.standings = Marker(), Standings()
        self.zone = MergedZone(APEX, ("100.64.0.1",), MS)
        self.responder = Responder(APEX, self.zone, Directory(APEX.wire, Memory(), Policy()), lambda _: None)
        self.responder.whole = self.zone
        self.responder.allow(frozenset(("own",)))

    def take(
        self,
        *services: Service,
        stood: tuple[Stood, ...] = (),
        current: bool = True,
        peers: Iterable[Peer] = PEERS.values(),
    ) -> bool:
        zone = Zone(APEX.wire, self.marker.mark(services))
        return self.zone.take(zone, MS, {(OWNER,): self.standings.beside(stood, census(peers), current=current)})

    def fill(self, copy: MirrorCopy) -> Progress:
        answer = self.responder.respond(copy.ask(7), Client("own", 65_535, True, "tcp"), 0.0)
        assert isinstance(answer, Messages)
        progress = Progress.MORE
        for wire in answer:
            progress = copy.feed(wire)
        return progress


def words(copy: MirrorCopy, peers: dict[str, Peer] = PEERS) -> dict[str, list[Service]]:
    return {key: list(found) for key, found in Words().by_peer(copy.told(), peers, "net").items()}


def exactly(found: list[Service], wanted: list[Service]) -> None:
    """Equal in all fields, also in that which makes no other service."""
    assert found == wanted
    assert [each.rtt_ms for each in found] == [each.rtt_ms for each in wanted]


def test_all_that_is_known_of_a_service_comes_through() -> None:
    told = [
        service(
            ALPHA,
            name="Café",
            labels={"env": "prod", "bad": "\udcff"},
            addresses=ALPHA.addresses,
            priority=1,
            weight=7,
            srv=("cafe", "http"),
            meta=(("md.future", "x"),),
        ),
        service(ALPHA, 514, protocol="udp", instance="alpha-514-udp", since=None, rtt_ms=None),
        service(ALPHA, 1, "192.0.2.7", instance="192-0-2-7-1"),
        service(ALPHA, 5432, BRAVO.addresses[0], instance="100-64-0-2-5432"),
        service(BRAVO, 80),
    ]
    holder, copy = Holder(), MirrorCopy(APEX)
    holder.take(*told)
    assert holder.fill(copy) is Progress.CHANGED
    assert copy.is_mirror
    found = words(copy)
    by_key = {each.key: each for each in found[ALPHA.id]}
    exactly([by_key[each.key] for each in told[:4]], told[:4])
    exactly(found[BRAVO.id], told[4:])


def test_labels_that_the_merged_zone_replaces_come_through() -> None:
    """Two hosts say the same label of two services."""
    told = [service(ALPHA, instance="x"), service(BRAVO, instance="x")]
    holder, copy = Holder(), MirrorCopy(APEX)
    holder.take(*told)
    holder.fill(copy)
    exactly(words(copy)[ALPHA.id], told[:1])
    exactly(words(copy)[BRAVO.id], told[1:])


def test_nobody_but_the_holder_says_who_said_it() -> None:
    """A host that tells of a service by another's name."""
    told = service(ALPHA, meta=(("md.via", BRAVO.id), ("MD.RTT", "1"), ("md.label", "y"), ("md.more", "z")))
    holder, copy = Holder(), MirrorCopy(APEX)
    holder.take(told)
    holder.fill(copy)
    exactly(words(copy)[ALPHA.id], [told._replace(meta=(("md.more", "z"),))])


def test_how_the_peers_stand_comes_through() -> None:
    stood = (
        Stood.of(State.REGISTRY, ALPHA, 4_294_967_295),
        Stood.of(State.SILENT, BRAVO),
        Stood.of(State.UNHEARD, Peer("n" * 300, ("100.64.0.3",), node="ü" * 200)),
    )
    holder, copy = Holder(), MirrorCopy(APEX)
    for current in (False, True):
        holder.take(stood=stood, current=current)
        holder.fill(copy)
        assert copy.beside() == (current, census(reversed(PEERS.values())), {each.id: each for each in stood})
    assert stood[2].is_of(Peer("n" * 300, ("100.64.0.3",), node="ü" * 200))
    assert not stood[0].is_of(Peer("alpha", ALPHA.addresses, node="n9"))


def test_what_has_not_changed_is_the_same_object_on_both_sides() -> None:
    one, other = service(ALPHA, 80), service(ALPHA, 81)
    holder, copy, read = Holder(), MirrorCopy(APEX), Words()
    holder.take(one, other)
    holder.fill(copy)
    before = read.by_peer(copy.told(), PEERS, "net")[ALPHA.id]
    marked = holder.marker.mark((one, other))
    holder.take(one, other._replace(labels={"a": "b"}))
    assert holder.marker.mark((one, other))[0] is marked[0]
    assert holder.fill(copy) is Progress.CHANGED
    after = {each.endpoint: each for each in read.by_peer(copy.told(), PEERS, "net")[ALPHA.id]}
    assert after[one.endpoint] is next(each for each in before if each == one)
    assert after[other.endpoint].labels == {"a": "b"}


def test_words_of_nodes_that_the_reader_does_not_know_are_left_out() -> None:
    holder, copy = Holder(), MirrorCopy(APEX)
    holder.take(service(ALPHA), service(BRAVO))
    holder.fill(copy)
    assert words(copy, {BRAVO.id: BRAVO}).keys() == {BRAVO.id}


def test_a_host_that_took_us_for_a_program_of_its_own_is_believed_of_itself_alone() -> None:
    holder, copy = Holder(), MirrorCopy(APEX)
    holder.take(service(ALPHA), service(BRAVO))
    holder.fill(copy)
    assert words(copy, {BRAVO.id: BRAVO}) == {BRAVO.id: [service(BRAVO)]}


def test_the_zone_of_one_host_is_no_mirror() -> None:
    holder, copy = Holder(), MirrorCopy(APEX)
    holder.zone.take(Zone(APEX.wire, [service(ALPHA)]), MS)
    holder.fill(copy)
    assert not copy.is_mirror
    assert copy.beside() == (False, "", {})


@pytest.mark.parametrize("strings", [(b"a", b"b"), (b"registry", b"x", b"", b"", b"y"), (b"gone", b"x", b"", b"", b"")])
def test_nonsense_is_a_bad_message(strings: tuple[bytes, ...]) -> None:
    holder, copy = Holder(), MirrorCopy(APEX)
    rdata = b"".join(bytes((len(each),)) + each for each in strings)
    holder.zone.take(Zone(APEX.wire, ()), MS, {(OWNER,): Node((RRset(TXT, ((rdata, None),)),))})
    holder.fill(copy)
    with pytest.raises(BadMessage):
        copy.beside()
