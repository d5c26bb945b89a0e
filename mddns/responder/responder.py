"""Turns the octets of a query into the octets of the answer that a node sends from its port.

This module uses neither sockets nor clocks. A query with RD=0 is answered from this host's own registry. A query with
RD=1 is answered from the directory. If the directory is out of date, the responder returns an :class:`Ask`: the
caller queries the peers and then calls ``finish``. Answers are cached as octets: a repeated query costs a look-up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from ..base.errors import BadMessage
from ..base.model import Peer, Service
from ..base.names import Name
from ..codec.instance_records import TTL
from ..directory.directory import Directory
from ..directory.silence_text import sentence
from ..directory.source import NEGATIVE_TTL
from ..dns.message import (
    ANY,
    AXFR,
    BADVERS,
    CD,
    EDE_NETWORK_ERROR,
    EDE_NO_AUTHORITY,
    EDE_NOT_READY,
    EDE_PROHIBITED,
    FORMERR,
    IN,
    IXFR,
    MAX_MESSAGE,
    NOTIMP,
    OPCODE,
    OPT,
    QR,
    RD,
    REFUSED,
    SERVFAIL,
    Query,
    Question,
    read_query,
    ttl_offsets,
    with_ttl,
)
from ..dns.writer import opt_record
from ..zone.apex import Apex, is_after
from ..zone.journal import Journal, Step, difference
from ..zone.transfer import IN_ONE, differences_out, transfer_out
from ..zone.zone import ENT, Labels, Zone
from .bounded_cache import Cache
from .compose import compose, compose_error, compose_header, compose_plain
from .counters import Counts, Tally
from .hot_answers import COOKIE_OCTETS, Hot, Kept
from .push_subscriptions import Held
from .reaction import Messages
from .truncation import Shuffle
from .variant import Variant

if TYPE_CHECKING:
    from ..zone.merged_zone import MergedZone

PLAIN_SIZE: Final = 512  # the largest answer over UDP for a client without EDNS (RFC 1035 2.3.4)
TAILNET_SIZE: Final = 1232
LOOPBACK_SIZE: Final = 65_507

# The limit of REFUSED answers, so that queries from outside for merged answers cost little.
_REFUSALS_PER_SECOND: Final = 5

_CACHED_ANSWERS: Final = 4096
_CACHED_OCTETS: Final = 4 << 20
_HOT_ANSWERS: Final = 10_000  # a name may need four: with and without a cookie, for local and for remote clients


class Client(NamedTuple):
    """A client and its transport. ``limit`` is the most octets that an answer may have: see :func:`client`."""

    address: str
    limit: int
    tcp: bool = False
    transport: str = "udp"  # for the counters: one of mddns.responder.counters.TRANSPORTS


def client(address: str, own: frozenset[str], *, tcp: bool) -> Client:
    """Makes a Client: its limit is 65,535 octets over TCP, 65,507 over UDP on this host, else 1,232."""
    if tcp:
        return Client(address, MAX_MESSAGE, True, "tcp")
    loopback = address in own or address.startswith("127.") or address == "::1"
    return Client(address, LOOPBACK_SIZE if loopback else TAILNET_SIZE)


class Ask(NamedTuple):
    """Asks the caller to first query all peers whose last query is `age` seconds old or older.

    Call ``finish(now)`` for the answer when the directory has the answers of the peers.
    """

    finish: Callable[[float], bytes]
    age: float


class Served(Protocol):
    """The source of a responder's own records: a registry, or the table of all processes of a host."""

    @property
    def serial(self) -> int:
        """Increases with every change."""

    @property
    def me(self) -> Peer:
        """The node that answers."""

    def services(self) -> list[Service]:
        """Returns all services that it offers."""

    def held_back(self) -> list[Service]:
        """Returns the services that it does not offer because they have not passed their checks."""


class Responder:
    """Answers for one apex."""

    def __init__(
        self, apex: Name, registry: Served, directory: Directory, shuffle: Shuffle, counts: Counts | None = None
    ) -> None:
        """`shuffle` puts records into random order when an answer cannot hold all of them."""
        self.counts = counts or Counts()
        self.apex = apex
        self._shuffle = shuffle
        self._registry = registry
        self._directory = directory
        self._may_ask: frozenset[str] = frozenset()
        self._rendered: tuple[int, Apex, Zone] | None = None
        self._journal = Journal()
        # The last incremental transfer: its state, its question, and the octets of the message after the ID.
        self._told: tuple[Apex, tuple[Question, int | None, bytes], bytes] | None = None
        # Own answers by everything that they depend on, with their counters.
        self._own: Cache[_Shape, tuple[bytes, Tally]] = Cache(_CACHED_ANSWERS, _CACHED_OCTETS)
        # The same for merged answers, in which only the TTLs change while the view stays the same.
        self._merged: Cache[_Shape, _Merged] = Cache(_CACHED_ANSWERS, _CACHED_OCTETS)
        # Answers over UDP by the query's octets, for a client that repeats its query: a stub, dig.
        self._hot = Hot(_HOT_ANSWERS, _CACHED_OCTETS)
        self._refusals = (0, 0)
        # Only in a forwarder: it has no services of its own, and gives merged answers for RD=0 too.
        self.whole: MergedZone | None = None

    def may_ask(self, address: str) -> bool:
        """Returns whether this address gets merged answers."""
        return address in self._may_ask

    def allow(self, addresses: frozenset[str]) -> None:
        """Sets the addresses that get merged answers."""
        self._may_ask = addresses
        self._hot.clear()

    def hot(self, now: float) -> Mapping[str, Kept]:
        """Returns the answers that need no call of the responder, by client: see :mod:`mddns.responder.hot_answers`."""
        return self._hot.at((self._registry.serial, self._directory.stirred), now)

    def admit(self, client: Client) -> None:
        """Lets `hot` answer the queries of `client` from now on, so that the responder no longer sees each of them."""
        self._hot.admit(client.address, self._kind(client))

    def forget_clients(self) -> None:
        """Undoes every :meth:`admit`."""
        self._hot.forget_clients()

    def forget_hot(self) -> None:
        """Empties `hot`: every query is passed to the responder again."""
        self._hot.clear()

    def _kind(self, client: Client) -> tuple[int, bool]:
        return client.limit, client.address in self._may_ask

    def standing(self, name: bytes, qtype: int) -> frozenset[Held] | None:
        """Returns this host's records at a name (in lower case), of a type or ANY; None if it is not under the apex."""
        labels = Name(name).relative_to(self.apex)
        if labels is None:
            return None
        apex, zone = self._render()
        node = apex.node(labels) or zone.node(labels)
        return frozenset(
            (rtype, fixed + (target or b""))
            for rtype, rrset in (node.rrsets.items() if node else ())
            if qtype in (rtype, ANY)
            for fixed, target in rrset.rdatas
        )

    def respond(self, wire: bytes, client: Client, now: float) -> bytes | Messages | Ask | None:
        """Returns the answer to one message, the messages of a zone transfer, an Ask, or None to send no answer."""
        serial = self._registry.serial
        shape, end = _shape(wire, client.limit)
        if shape is not None:
            own = self._own.at(serial).get(shape)
            if own is not None:
                kept, tally = own
                return self._again(wire, end, client, kept, tally, math.inf, now)
            if client.address in self._may_ask and (merged := self._kept_merged(shape, serial, now)) is not None:
                return self._again(wire, end, client, merged.answer, merged.tally, merged.until, now)
        return self._counted(wire, client, self._read_and_answer(wire, shape, client, now))

    def _again(
        self, wire: bytes, end: int, client: Client, kept: bytes, tally: Tally, until: float, now: float
    ) -> bytes:
        """Returns the cached answer for `wire`, whose name ends at `end`, and puts it into `hot` for the next time."""
        tally[client.transport] += 1
        answer = wire[:2] + kept[2:12] + wire[12:end] + kept[end:]
        options = len(wire) - end - 4 - _EMPTY_OPT
        cookie = options == _COOKIE_OPTION and wire.startswith(_COOKIE, -_COOKIE_OPTION)
        if not client.tcp and (options <= 0 or cookie):
            self.hot(now)
            self._hot.put(self._kind(client), wire, cookie, answer, tally, until)
        return answer

    def _kept_merged(self, shape: _Shape, serial: int, now: float) -> _Merged | None:
        """Returns the cached merged answer with current TTLs; None if it is no longer valid."""
        directory = self._directory
        kept = self._merged.found.get(shape)
        if kept is None:
            return None
        if kept.stamp == (serial, directory.stirred) and now < kept.until:
            return kept
        if directory.stale(now) or (not kept.found and directory.stale(now, NEGATIVE_TTL)):
            return None
        view = directory.merged(now)
        kept = self._merged.at((serial, view.zone, view.silent, view.asked)).get(shape)
        if kept is None:
            return None
        answer = with_ttl(kept.answer, kept.ttls, view.ttl)
        self._merged.found[shape] = kept = self._merged_now(answer, kept.tally, kept.ttls, kept.found)
        return kept

    def _merged_now(self, answer: bytes, tally: Tally, ttls: tuple[int, ...], found: bool) -> _Merged:
        directory = self._directory
        until = directory.holds_until(TTL if found else NEGATIVE_TTL)
        return _Merged(answer, tally, ttls, found, (self._registry.serial, directory.stirred), until)

    def _counted(
        self, wire: bytes, client: Client, answer: bytes | Messages | Ask | None
    ) -> bytes | Messages | Ask | None:
        """Returns the same answer. It is counted now, or, for an Ask, when it is finished."""
        if isinstance(answer, Ask):
            finish = answer.finish

            def counted(now: float) -> bytes:
                made = finish(now)
                self.counts.answered(wire, made, client.transport)
                return made

            return answer._replace(finish=counted)
        if answer:
            self.counts.answered(wire, answer if isinstance(answer, bytes) else answer.first, client.transport)
        return answer

    def _read_and_answer(
        self, wire: bytes, shape: _Shape | None, client: Client, now: float
    ) -> bytes | Messages | Ask | None:
        """Reads and answers a query that is not in a cache."""
        if len(wire) < 12:
            return None
        flags = wire[2] << 8 | wire[3]
        # If responses were answered, two responders could answer each other for ever.
        if flags & QR:
            return None
        if flags & OPCODE:
            return compose_header(wire, flags, NOTIMP)
        try:
            query = read_query(wire)
        except BadMessage as error:
            return compose_header(wire, flags, error.rcode)
        question, edns = query.question, query.edns
        if shape is not None and len(shape[0]) != len(question.qname):
            shape = None  # a label has a zero octet, at which _shape cut the name
        limit = client.limit
        if not client.tcp:
            limit = min(limit, max(PLAIN_SIZE, edns.size)) if edns else PLAIN_SIZE
        variant = Variant(limit, bool(flags & RD), bool(flags & CD), edns is not None, bool(edns and edns.do))
        if edns and edns.version:
            return compose_plain(query, variant, BADVERS)
        if question.qtype == OPT:
            return compose_plain(query, variant, FORMERR)
        labels = None
        if question.qclass == IN and question.key.endswith(self.apex.key):
            labels = Name(question.key).relative_to(self.apex)
        if labels is None:
            return compose_plain(query, variant, REFUSED)
        if question.qtype in (AXFR, IXFR) and not labels:
            return self._transfer(query, variant, client, now)
        if question.qtype in (AXFR, IXFR):
            return compose_plain(query, variant, NOTIMP)
        if (variant.rd or self.whole is not None) and not self._is_ours(labels):
            return self._answer_merged(wire, shape, query, labels, variant, client, now)
        apex, zone = self._render()
        answer = compose(question, apex.node(labels) or zone.node(labels), apex, variant, TTL, (), self._shuffle)
        if shape is not None:
            self._own.put(shape, (answer, self.counts.tally(wire, answer)), len(answer) + len(wire))
        return wire[:2] + answer[2:]

    def _answer_merged(
        self,
        wire: bytes,
        shape: _Shape | None,
        query: Query,
        labels: Labels,
        variant: Variant,
        client: Client,
        now: float,
    ) -> bytes | Ask | None:
        directory = self._directory
        if not directory.ready:
            return compose_plain(query, variant, SERVFAIL, ((EDE_NOT_READY, "no list of peers yet"),))
        if client.address not in self._may_ask:
            return self._refuse(query, variant, now)

        def finish(now: float) -> bytes:
            return wire[:2] + self._compose_merged(query.question, labels, variant, now)[0][2:]

        if directory.stale(now):
            return Ask(finish, TTL)
        answer, found = self._compose_merged(query.question, labels, variant, now)
        # A negative answer is only valid for as long as a client would cache it.
        if not found and directory.stale(now, NEGATIVE_TTL):
            return Ask(finish, NEGATIVE_TTL)
        if shape is not None:
            view = directory.merged(now)
            self._merged.at((self._registry.serial, view.zone, view.silent, view.asked))
            tally, ttls = self.counts.tally(wire, answer), ttl_offsets(answer) if found else ()
            self._merged.put(shape, self._merged_now(answer, tally, ttls, found), len(answer) + len(wire))
        return wire[:2] + answer[2:]

    def _compose_merged(self, question: Question, labels: Labels, variant: Variant, now: float) -> tuple[bytes, bool]:
        """Returns the merged answer, and whether it has any records."""
        view = self._directory.merged(now)
        node = view.zone.node(labels)
        found = node is not None and (question.qtype in node.rrsets or question.qtype == ANY)
        apex, _ = self._render()
        if not view.silent:
            return compose(question, node, apex, variant, view.ttl, (), self._shuffle), found
        told = sentence(view.silent, view.asked)
        # NXDOMAIN would make Prometheus drop its targets, although a silent peer may have such a name.
        if node is None or (node is not ENT and not node.rrsets):
            return compose_error(question, variant, SERVFAIL, ((EDE_NO_AUTHORITY, told),)), False
        return compose(question, node, apex, variant, view.ttl, ((EDE_NETWORK_ERROR, told),), self._shuffle), found

    def _transfer(self, query: Query, variant: Variant, client: Client, now: float) -> bytes | Messages | None:
        """Answers AXFR and IXFR: transfers this host's own zone, or the merged zone of a forwarder, to a client with
        permission. The whole zone only goes over TCP (RFC 5936 4.2)."""
        question = query.question
        if question.qtype == AXFR and not client.tcp:
            return compose_plain(query, variant, FORMERR)
        if client.address not in self._may_ask:
            return self._refuse(query, variant, now)
        if question.qtype == IXFR and query.serial is None:
            return compose_plain(query, variant, FORMERR)
        if self.whole is not None and not self.whole.known:
            return compose_plain(query, variant, SERVFAIL, ((EDE_NOT_READY, "not all peers have answered yet"),))
        apex, zone = self._render()
        journal = self._journal if self.whole is None else self.whole.journal
        opt = opt_record(do=variant.do) if variant.edns else b""
        steps: list[Step] | None = None
        if query.serial is not None:
            # A client whose serial is newer than ours gets the SOA alone (RFC 1995 2).
            up_to_date = query.serial == apex.serial or is_after(query.serial, apex.serial)
            steps = [] if up_to_date else journal.since(query.serial)
        if client.tcp:
            if steps is None:
                return Messages(transfer_out(question, query.id, apex, zone, opt))
            return self._differences(query, apex, steps, opt)
        # One datagram, or the SOA alone, after which the client asks again over TCP (RFC 1995 2).
        answer, *rest = differences_out(question, query.id, apex, steps or (), opt)
        if rest or len(answer) > variant.limit:
            (answer,) = differences_out(question, query.id, apex, (), opt)
        return answer

    def _differences(self, query: Query, apex: Apex, steps: list[Step], opt: bytes) -> Messages:
        """Returns an incremental transfer over TCP. All secondaries ask at the same time: they get the same octets."""
        question = query.question
        alone = sum(step.octets for step in steps) < IN_ONE
        if not alone:
            return Messages(differences_out(question, query.id, apex, steps, opt))
        asked = question, query.serial, opt
        if self._told is None or self._told[0] is not apex or self._told[1] != asked:
            (answer,) = differences_out(question, query.id, apex, steps, opt)
            self._told = apex, asked, answer[2:]
        return Messages(iter((query.id.to_bytes(2, "big") + self._told[2],)), alone=True)

    def _is_ours(self, labels: Labels) -> bool:
        """Returns whether a name is one of the apex's own names, which are answered without a merge even for RD=1."""
        return self._render()[0].node(labels) is not None

    def _render(self) -> tuple[Apex, Zone]:
        if self.whole is not None:
            return self.whole.apex, self.whole.zone
        registry = self._registry
        if self._rendered is None or self._rendered[0] != registry.serial:
            before = self._rendered
            apex = Apex(self.apex, registry.serial, registry.me.addresses)
            self._rendered = registry.serial, apex, Zone(self.apex.wire, registry.services(), registry.held_back())
            if before:
                self._journal.add(difference(before[1:], self._rendered[1:]))
        return self._rendered[1:]

    def _refuse(self, query: Query, variant: Variant, now: float) -> bytes | None:
        self.counts.refused += 1
        second, count = self._refusals
        if int(now) != second:
            second, count = int(now), 0
        self._refusals = second, count + 1
        if count >= _REFUSALS_PER_SECOND:
            return None
        return compose_plain(
            query, variant, REFUSED, ((EDE_PROHIBITED, "merged answers are for this network's nodes"),)
        )


class _Merged(NamedTuple):
    """A cached merged answer. ``ttls`` are the offsets of its TTLs, ``found`` says whether it has records.

    It is valid as it is while ``stamp`` is current, and until ``until``.
    """

    answer: bytes
    tally: Tally
    ttls: tuple[int, ...]
    found: bool
    stamp: tuple[int, int]
    until: float


# The name in lower case, type and class, flags, the fixed part of the OPT record, the client's limit.
_Shape = tuple[bytes, bytes, bytes, bytes, int]
_EMPTY_OPT: Final = 11  # octets of an OPT record without options
_COOKIE: Final = b"\0\x0a\0\x08"  # the head of a COOKIE option with a client cookie alone (RFC 7873 4)
_COOKIE_OPTION: Final = len(_COOKIE) + COOKIE_OCTETS
_ONE_QUESTION: Final = b"\0\1\0\0\0\0\0\0"
_QUESTION_AND_OPT: Final = b"\0\1\0\0\0\0\0\1"
_ROOT_OPT: Final = b"\0\0\x29"


def _shape(wire: bytes, limit: int) -> tuple[_Shape | None, int]:
    """Returns everything that the answer depends on, and the offset at which the name ends; None and 0 if unusual.

    This does not check the query. Its answer is only cached after the query was parsed. A zero octet in a label
    makes this cut the name too early. Such an answer is not cached. Every cached name ends where it was cut, so a
    query that is cut to the same octets has the same name.
    """
    end = wire.find(0, 12) + 1
    opt = end + 4
    rest = len(wire) - opt
    if rest == 0:
        if wire[4:12] != _ONE_QUESTION:
            return None, 0
        return (wire[12:end].lower(), wire[end:opt], wire[2:4], b"", limit), end
    options = rest - _EMPTY_OPT
    if (
        options < 0
        or wire[4:12] != _QUESTION_AND_OPT
        or wire[opt : opt + 3] != _ROOT_OPT
        or wire[opt + 9] << 8 | wire[opt + 10] != options
        # No option or one, as dig sends it; several options are left to the parser.
        or (options and (options < 4 or wire[opt + 13] << 8 | wire[opt + 14] != options - 4))
    ):
        return None, 0
    return (wire[12:end].lower(), wire[end:opt], wire[2:4], wire[opt + 3 : opt + 9], limit), end
