"""Nodes without sockets: registry, directory and responder in memory, their answers parsed by dnspython.

A :class:`Host` has the parts of :mod:`mddns.node` without the event loop. A :class:`Fleet` is the network
between hosts, a dictionary. The clock is a number that tests set. No message is parsed by mddns' own code here,
so the tests see what dnspython understands.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype

from mddns.base.model import Peer, Snapshot, replace
from mddns.base.names import Name
from mddns.base.offer import Offer, make
from mddns.base.policy import Policy, who_may_ask
from mddns.codec.answer import introduce
from mddns.directory.directory import Directory
from mddns.directory.peer_memory import Memory
from mddns.dns.message import PTR
from mddns.lookup.asked_peer import Outcome
from mddns.lookup.fanout import Lookup
from mddns.lookup.query import Found, Inquirer, Query
from mddns.registry.registry import Registration, Registry
from mddns.responder.hot_answers import COOKIE_OCTETS, Kept
from mddns.responder.reaction import Messages
from mddns.responder.responder import Ask, Responder, client

APEX = Name.parse("minidisc.")
ORIGIN = dns.name.from_text("minidisc.")
SINCE = 1_800_000_000_000
"""Unix time in ms at which the played registries start: ``md.since`` of their first services."""

STRANGER = "203.0.113.9"
LOOKER_ON = "100.64.0.99"
"""A member of every fleet that offers no services and receives no queries."""


class Said:
    """One answer as dnspython parses it. Sections are sets of zone text, relative to the apex."""

    def __init__(self, wire: bytes) -> None:
        self.wire = wire
        self.message = dns.message.from_wire(wire)
        counts = [int.from_bytes(wire[at : at + 2], "big") for at in (6, 8, 10)]
        opts = int(self.message.edns >= 0)
        # dnspython's RRsets would hide duplicate records, which a responder must not send.
        assert [sum(map(len, section)) for section in self.message.sections[1:]] == [*counts[:2], counts[2] - opts]
        self.rcode = dns.rcode.to_text(self.message.rcode())
        self.flags = set(dns.flags.to_text(self.message.flags).split())
        self.answer, self.authority, self.additional = map(_lines, self.message.sections[1:])
        self.errors = [
            (int(option.code), option.text) for option in self.message.options if isinstance(option, dns.edns.EDEOption)
        ]

    @property
    def question(self) -> str:
        """The question section of the response."""
        return str(self.message.question[0])

    @property
    def ttls(self) -> set[int]:
        """All TTLs of the answer and additional sections."""
        return {rrset.ttl for section in (self.message.answer, self.message.additional) for rrset in section}

    @property
    def nothing(self) -> bool:
        """Whether the answer has no records at all."""
        return not (self.answer or self.authority or self.additional)


def _lines(section: Iterable[Any]) -> set[str]:
    return {line for rrset in section for line in rrset.to_text(origin=ORIGIN, relativize=True).splitlines()}


def zone(text: str) -> set[str]:
    """Returns zone text as the set of its lines."""
    return {" ".join(line.split()) for line in text.splitlines() if line.strip()}


def name(text: str) -> dns.name.Name:
    """Returns a name relative to the apex, or as it is if it ends in a dot."""
    return dns.name.from_text(text, ORIGIN)


def question(text: str, *, rd: bool = False, ident: int = 4711, **edns: Any) -> bytes:
    """Returns the octets of a query such as ``"web SRV"``; with EDNS if an EDNS argument of dnspython is given."""
    owner, _, qtype = text.rpartition(" ")
    query = dns.message.make_query(name(owner or "@"), qtype, id=ident, **edns)
    query.flags = dns.flags.Flag(dns.flags.RD if rd else 0)
    return query.to_wire()


def ready_answer(hot: Mapping[str, Kept], wire: bytes, source: str) -> bytes | None:
    """Returns the answer that the socket loop can send without calling the responder."""
    plain, cookies = hot.get(source, ({}, {}))
    ready = plain.get(wire[2:], cookies.get(wire[2:-COOKIE_OCTETS]))
    return None if ready is None else wire[:2] + ready[0]


class Host:
    """One host, which tests query by `ask`."""

    def __init__(self, me: Peer, *, shares_name: bool = False, apex: Name = APEX) -> None:
        self.me = me
        self.registry = Registry(me, shares_name, SINCE)
        self.directory = Directory(apex.wire, Memory(), Policy())
        self.responder = Responder(apex, self.registry, self.directory, lambda rdatas: rdatas.reverse())

    def advertise(self, name: str, port: int, labels: Mapping[str, str] | None = None, **more: Any) -> Registration:
        """Offers a service as of SINCE."""
        return self.offer(make(port, name, labels, **more))

    def offer(self, offer: Offer) -> Registration:
        """Offers a service that the caller has made."""
        return self.registry.advertise(offer, SINCE)

    def octets(
        self, wire: bytes, *, source: str = STRANGER, tcp: bool = False, now: float = 0.0
    ) -> bytes | tuple[bytes, ...] | Ask | None:
        """Returns the responder's reaction to a message."""
        self.directory.own(self.registry.services())
        who = client(source, frozenset(self.me.addresses), tcp=tcp)
        if not tcp:
            self.responder.admit(who)
            ready = ready_answer(self.responder.hot(now), wire, source)
            if ready is not None:
                return ready
        answer = self.responder.respond(wire, who, now)
        return tuple(answer) if isinstance(answer, Messages) else answer

    def ask(self, text: str, *, tcp: bool = False, source: str = STRANGER, now: float = 0.0, **query: Any) -> Said:
        """Returns the answer to a query such as ``"web SRV"``, which must not need other hosts."""
        answer = self.octets(question(text, **query), source=source, tcp=tcp, now=now)
        assert isinstance(answer, bytes), answer
        return Said(answer)

    def whole(self, text: str, **query: Any) -> Said:
        """Returns the answer over TCP."""
        return self.ask(text, tcp=True, **query)


def peer(name: str, *addresses: str, **more: Any) -> Peer:
    """Makes a peer from its name and addresses."""
    return Peer(name, addresses, **more)


ALPHA = peer("alpha", "100.64.0.1", "fd7a::1", owner="ada@example.com")
BRAVO = peer("bravo", "100.64.0.2", "fd7a::2")
CHARLIE = peer("charlie", "100.64.0.3")


class Fleet:
    """Hosts that reach each other through a dictionary. `silent` and `refusing` are sets of addresses.

    `lists` has the response to ``GET /services`` by address; an address that is not in it refuses TCP too.
    """

    def __init__(self, *peers: Peer, apex: Name = APEX) -> None:
        self.hosts: dict[str, Host] = {}
        self.by_address: dict[str, Host] = {}
        self.silent: set[str] = set()
        self.refusing: set[str] = set()
        self.lists: dict[str, bytes] = {}
        self.asked: list[tuple[str, bool]] = []
        """(address, over TCP) of every query between hosts."""
        self.listed: list[str] = []
        """The addresses that were queried by HTTP."""
        names = [each.name.lower() for each in peers]
        for each in peers:
            host = Host(each, shares_name=names.count(each.name.lower()) > 1, apex=apex)
            self.hosts[each.id] = host
            self.by_address.update((address, host) for address in each.addresses)
        for host in self.hosts.values():
            snapshot = self.snapshot(host.me)
            host.directory.network(snapshot, with_own_host=False)
            host.responder.allow(who_may_ask(snapshot) | {LOOKER_ON})

    def __getitem__(self, peer: Peer) -> Host:
        return self.hosts[peer.id]

    def snapshot(self, me: Peer | None) -> Snapshot:
        """Returns the network as `me` sees it."""
        return Snapshot(me, tuple(host.me for host in self.hosts.values() if host.me is not me), "played")

    def fall_silent(self, *peers: Peer) -> None:
        """Makes these hosts silent."""
        self.silent.update(address for each in peers for address in each.addresses)

    def wake(self, *peers: Peer) -> None:
        """Makes these hosts answer again."""
        self.silent.difference_update(address for each in peers for address in each.addresses)

    def carry(self, lookup: Lookup, now: float, source: str = LOOKER_ON) -> float:
        """Does the I/O of a lookup. Answers come without delay. Returns the time at which it ended."""
        while not lookup.done:
            datagrams = lookup.send(now)
            for address, port, wire in datagrams:
                self.asked.append((address, False))
                if address in self.refusing:
                    lookup.failed(address, port, now, refused=True)
                else:
                    for reply in self._replies(address, wire, source, False, now):
                        lookup.received(reply, address, port, now)
            wanted = lookup.tcp()
            for ask in wanted:
                address = ask.over_tcp or ""
                self.asked.append((address, True))
                for reply in self._replies(address, lookup.query_for(ask), source, True, now):
                    if not lookup.tcp_received(ask, reply, now):
                        break
                lookup.tcp_failed(ask, now)
            lists = lookup.web()
            for ask in lists:
                address = ask.over_web or ""
                self.listed.append(address)
                if address in self.lists:
                    lookup.web_open(ask)
                    lookup.web_received(ask, self.lists[address], now)
                elif address not in self.silent:
                    lookup.web_failed(ask, now)
            if not (datagrams or wanted or lists or lookup.done):
                assert lookup.timer() > now, "a timer that does not lie ahead would spin"
                now = lookup.timer()
        return now

    def _replies(self, address: str, wire: bytes, source: str, tcp: bool, now: float) -> tuple[bytes, ...]:
        host = self.by_address.get(address)
        if host is None or address in self.silent:
            return ()
        answer = host.octets(wire, source=source, tcp=tcp, now=now)
        if isinstance(answer, Ask):
            return (self.fulfil(host, answer, now),)
        return () if answer is None else (answer,) if isinstance(answer, bytes) else answer

    def fulfil(self, host: Host, ask: Ask, now: float, timeout: float = 1.0) -> bytes:
        """Queries the peers as a node does, then returns the answer."""
        directory = host.directory
        if due := directory.due(now, ask.age):
            directory.asking(due, now)
            peers = [(each, directory.memory.standing(each.id, now)) for each in due]
            apex = host.responder.apex
            lookup = Lookup(apex, Name.of((b"_list",), apex).wire, PTR, peers, now, timeout=timeout)
            now = self.carry(lookup, now, host.me.addresses[0])
            directory.asked(due)
            for each in lookup.asks:
                if each.outcome is Outcome.ANSWERED and each.answer:
                    told = [introduce(one, each.peer, "played") for one in each.answer.told]
                    directory.answered(each.peer, told, now, rtt=each.rtt)
                elif each.outcome is Outcome.REFUSED:
                    directory.refused(each.peer, now)
                else:
                    directory.missed(each.peer, now)
            directory.lapse(now)
        return ask.finish(now)

    def octets(self, host: Host, wire: bytes, *, now: float, source: str = "", tcp: bool = True) -> bytes | None:
        """Returns the octets that `host` sends to a node of the network, after it queried the peers that it needs."""
        source = source or host.me.addresses[0]
        answer = host.octets(wire, source=source, tcp=tcp, now=now)
        if isinstance(answer, Ask):
            return self.fulfil(host, answer, now)
        assert answer is None or isinstance(answer, bytes)
        return answer

    def ask(
        self,
        me: Peer,
        text: str,
        *,
        now: float = 0.0,
        source: str = "",
        tcp: bool = True,
        rd: bool = True,
        **query: Any,
    ) -> Said:
        """Returns the merged answer (RD=1) of one host."""
        query = {"use_edns": 0, **query}
        answer = self.octets(self[me], question(text, rd=rd, **query), now=now, source=source, tcp=tcp)
        assert answer is not None
        return Said(answer)


def without(*addresses: str, of: Peer) -> Peer:
    """Returns the peer without some of its addresses."""
    return replace(of, addresses=tuple(each for each in of.addresses if each not in addresses))


class Seeker:
    """A resolver in a fleet, on a machine of its own (or on `me`)."""

    def __init__(self, fleet: Fleet, me: Peer | None = None, policy: Policy | None = None) -> None:
        self.fleet = fleet
        self.inquirer = Inquirer(APEX, 1.0, policy)
        self.snapshot = fleet.snapshot(me)

    def find(self, name: str | None = None, now: float = 0.0, first: bool = False, **labels: str) -> Found:
        query = Query.of(name, labels, first=first)
        lookup = self.inquirer.begin(query, self.snapshot, now)
        if lookup is not None:
            me = self.snapshot.me
            now = self.fleet.carry(lookup, now, *([me.addresses[0]] if me else []))
        return self.inquirer.finish(query, lookup, now)
