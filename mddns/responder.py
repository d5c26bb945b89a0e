"""Octets of a query in, octets of an answer out: what a node says on its port.

It knows neither sockets nor clocks. RD=0 is answered from this host's own registry; RD=1 from the
directory, or, where that is out of date, by an :class:`Ask` that whoever does the I/O fulfils and
then calls ``finish``. Answers are kept as octets: a question asked again costs a look-up.
"""

from __future__ import annotations

from collections.abc import Callable, MutableSequence
from typing import Final, NamedTuple

from .apex import Apex
from .cache import Cache
from .directory import NEGATIVE_TTL, Directory, Merged
from .errors import BadMessage
from .instance import TTL
from .names import Name
from .packer import Packer, Rdata, RRset, opt_record
from .registry import Registry
from .silence import sentence
from .transfer import transfer_out
from .wire import (
    AA,
    ANY,
    AXFR,
    BADVERS,
    CD,
    EDE_NETWORK_ERROR,
    EDE_NO_AUTHORITY,
    EDE_NOT_READY,
    EDE_OTHER,
    EDE_PROHIBITED,
    FORMERR,
    HEADER,
    IN,
    IXFR,
    MAX_MESSAGE,
    NOERROR,
    NOTIMP,
    NXDOMAIN,
    OPCODE,
    OPT,
    PTR,
    QR,
    RA,
    RD,
    REFUSED,
    SERVFAIL,
    SOA,
    SRV,
    TC,
    TXT,
    Query,
    Question,
    read_query,
)
from .zone import ENT, Labels, Node, Zone

PLAIN_SIZE: Final = 512  # what a client without EDNS takes over UDP (RFC 1035 2.3.4)
TAILNET_SIZE: Final = 1232
LOOPBACK_SIZE: Final = 65_507

# What a stranger's questions for merged answers cost us at most.
_REFUSALS_PER_SECOND: Final = 5

_CACHED_ANSWERS: Final = 4096
_CACHED_OCTETS: Final = 4 << 20


_Errors = tuple[tuple[int, str], ...]


class Client(NamedTuple):
    """Who asks, and how. ``limit`` is what the way back carries: see :func:`client`."""

    address: str
    limit: int
    tcp: bool = False


def client(address: str, own: frozenset[str], *, tcp: bool) -> Client:
    """A client as the responder sees it: TCP carries 65,535 octets, UDP 1,232 off loopback."""
    if tcp:
        return Client(address, MAX_MESSAGE, True)
    loopback = address in own or address.startswith("127.") or address == "::1"
    return Client(address, LOOPBACK_SIZE if loopback else TAILNET_SIZE)


class Ask(NamedTuple):
    """A question for which the peers that were last asked `age` seconds ago, or earlier, must be asked first.

    Call ``finish(now)`` when the directory has their answers.
    """

    finish: Callable[[float], bytes]
    age: float


class _Variant(NamedTuple):
    """All that an answer depends on beside its question."""

    limit: int
    rd: bool
    cd: bool
    edns: bool
    do: bool


class Responder:
    """Answers for one apex."""

    def __init__(
        self, apex: Name, registry: Registry, directory: Directory, shuffle: Callable[[MutableSequence[Rdata]], None]
    ) -> None:
        """`shuffle` puts records into random order where not all of them can be told."""
        self.apex = apex
        self._shuffle = shuffle
        self._registry = registry
        self._directory = directory
        self._may_ask: frozenset[str] = frozenset()
        self._rendered: tuple[int, Apex, Zone] | None = None
        self._raw: Cache[tuple[bytes, int], bytes] = Cache(_CACHED_ANSWERS, _CACHED_OCTETS)
        self._own: Cache[tuple[bytes, int, _Variant], bytes] = Cache(_CACHED_ANSWERS, _CACHED_OCTETS)
        self._merged: Cache[tuple[bytes, int, _Variant], tuple[bytes, bool]] = Cache(_CACHED_ANSWERS, _CACHED_OCTETS)
        self._refusals = (0, 0)

    def allow(self, addresses: frozenset[str]) -> None:
        """These addresses, and no others, get merged answers."""
        self._may_ask = addresses

    def respond(self, wire: bytes, client: Client, now: float) -> bytes | tuple[bytes, ...] | Ask | None:
        """The answer to one message, the messages of a transfer, an Ask, or None where silence is right."""
        raw = self._raw.at(self._registry.serial).get((wire[2:], client.limit))
        if raw is not None:
            return wire[:2] + raw
        if len(wire) < 12:
            return None
        flags = wire[2] << 8 | wire[3]
        # Answering answers would let two responders keep each other busy.
        if flags & QR:
            return None
        if flags & OPCODE:
            return _bare(wire, flags, NOTIMP)
        try:
            query = read_query(wire)
        except BadMessage as error:
            return _bare(wire, flags, error.rcode)
        return self._answer(wire, query, client, now)

    def _answer(self, wire: bytes, query: Query, client: Client, now: float) -> bytes | tuple[bytes, ...] | Ask | None:
        question, edns = query.question, query.edns
        limit = client.limit
        if not client.tcp:
            limit = min(limit, max(PLAIN_SIZE, edns.size)) if edns else PLAIN_SIZE
        rd = bool(query.flags & RD)
        variant = _Variant(limit, rd, bool(query.flags & CD), edns is not None, bool(edns and edns.do))
        if edns and edns.version:
            return _plain(query, variant, BADVERS)
        if question.qtype == OPT:
            return _plain(query, variant, FORMERR)
        if question.qclass != IN or not question.key.endswith(self.apex.key):
            return _plain(query, variant, REFUSED)
        labels = Name(question.key).relative_to(self.apex)
        if labels is None:
            return _plain(query, variant, REFUSED)
        if question.qtype == AXFR and not labels:
            return self._transfer(query, variant, client, now)
        if question.qtype in (AXFR, IXFR):
            return _plain(query, variant, NOTIMP)
        key = question.key, question.qtype, variant
        if rd and not self._is_ours(labels):
            return self._answer_merged(wire, query, labels, key, client, now)
        cached = self._own.at(self._registry.serial).get(key)
        if cached is None:
            apex, zone = self._render()
            node = apex.node(labels) or zone.node(labels)
            cached = _compile(question, node, apex, variant, TTL, (), self._shuffle)
            self._own.put(key, cached, len(cached) + len(question.key))
        answer = _patch(cached, wire, question)
        self._raw.put((wire[2:], client.limit), answer[2:], len(wire) + len(answer))
        return answer

    def _answer_merged(
        self, wire: bytes, query: Query, labels: Labels, key: tuple[bytes, int, _Variant], client: Client, now: float
    ) -> bytes | Ask | None:
        variant = key[2]
        if client.address not in self._may_ask:
            return self._refuse(query, variant, now)
        directory = self._directory
        if not directory.ready:
            return _plain(query, variant, SERVFAIL, ((EDE_NOT_READY, "no list of peers yet"),))

        def finish(now: float) -> bytes:
            return _patch(self._compiled_merged(query.question, labels, key, now)[0], wire, query.question)

        if directory.stale(now):
            return Ask(finish, TTL)
        compiled, found = self._compiled_merged(query.question, labels, key, now)
        # That there is nothing is only believed for as long as a cache would believe us.
        if not found and directory.stale(now, NEGATIVE_TTL):
            return Ask(finish, NEGATIVE_TTL)
        return _patch(compiled, wire, query.question)

    def _compiled_merged(
        self, question: Question, labels: Labels, key: tuple[bytes, int, _Variant], now: float
    ) -> tuple[bytes, bool]:
        """The merged answer, and whether it has any records."""
        view = self._directory.merged(now)
        cached = self._merged.at((view, self._registry.serial)).get(key)
        if cached is None:
            node = view.zone.node(labels)
            found = node is not None and (question.qtype in node.rrsets or question.qtype == ANY)
            cached = self._compile_merged(question, node, view, key[2]), found
            self._merged.put(key, cached, len(cached[0]) + len(question.key))
        return cached

    def _compile_merged(self, question: Question, node: Node | None, view: Merged, variant: _Variant) -> bytes:
        apex, _ = self._render()
        if not view.silent:
            return _compile(question, node, apex, variant, view.ttl, (), self._shuffle)
        told = sentence(view.silent, view.asked)
        # "No such name" would make Prometheus drop its targets, and we do not know that it is so.
        if node is None or (node is not ENT and not node.rrsets):
            return _compile_error(question, variant, SERVFAIL, ((EDE_NO_AUTHORITY, told),))
        return _compile(question, node, apex, variant, view.ttl, ((EDE_NETWORK_ERROR, told),), self._shuffle)

    def _transfer(
        self, query: Query, variant: _Variant, client: Client, now: float
    ) -> bytes | tuple[bytes, ...] | None:
        """This host's own zone, whole, to those who may ask; over TCP alone (RFC 5936 4.2)."""
        if not client.tcp:
            return _plain(query, variant, FORMERR)
        if client.address not in self._may_ask:
            return self._refuse(query, variant, now)
        apex, zone = self._render()
        return tuple(transfer_out(query.question, query.id, apex, zone))

    def _is_ours(self, labels: Labels) -> bool:
        """Whether a name is of whoever answers, even for RD=1."""
        return self._render()[0].node(labels) is not None

    def _render(self) -> tuple[Apex, Zone]:
        registry = self._registry
        if self._rendered is None or self._rendered[0] != registry.serial:
            apex = Apex(self.apex, registry.serial, registry.me.addresses)
            self._rendered = registry.serial, apex, Zone(self.apex.wire, registry.services())
        return self._rendered[1:]

    def _refuse(self, query: Query, variant: _Variant, now: float) -> bytes | None:
        second, count = self._refusals
        if int(now) != second:
            second, count = int(now), 0
        self._refusals = second, count + 1
        if count >= _REFUSALS_PER_SECOND:
            return None
        return _plain(query, variant, REFUSED, ((EDE_PROHIBITED, "merged answers are for this network's nodes"),))


def _opt(variant: _Variant, errors: _Errors) -> bytes:
    return opt_record(do=variant.do, errors=errors) if variant.edns else b""


def _bare(wire: bytes, flags: int, rcode: int) -> bytes:
    """A header alone: what can be said of a message that was not understood (RFC 1035 4.1.1)."""
    return HEADER.pack(wire[0] << 8 | wire[1], QR | flags & (OPCODE | RD) | rcode, 0, 0, 0, 0)


def _flags(variant: _Variant, rcode: int, bits: int) -> int:
    return QR | bits | (RD if variant.rd else 0) | (CD if variant.cd else 0) | rcode & 0xF


def _plain(query: Query, variant: _Variant, rcode: int, errors: _Errors = ()) -> bytes:
    """An answer without records: question, OPT, rcode."""
    message = _compile_error(query.question, variant, rcode, errors)
    return query.id.to_bytes(2, "big") + message[2:]


def _compile_error(question: Question, variant: _Variant, rcode: int, errors: _Errors) -> bytes:
    packer = Packer(question.qname, question.qtype, question.qclass)
    opt = opt_record(rcode, do=variant.do, errors=errors) if variant.edns else b""
    # Recursion is to be had for our zone alone.
    bits = RA if rcode == SERVFAIL else 0
    return packer.finish(0, _flags(variant, rcode, bits), (0, 0, 0), opt)


def _patch(cached: bytes, wire: bytes, question: Question) -> bytes:
    """A kept answer for this query: its id, its question's octets as they were asked."""
    end = 12 + len(question.qname)
    return wire[:2] + cached[2:12] + question.qname + cached[end:]


def _compile(
    question: Question,
    node: Node | None,
    apex: Apex,
    variant: _Variant,
    ttl: int,
    errors: _Errors,
    shuffle: Callable[[MutableSequence[Rdata]], None],
) -> bytes:
    """The whole answer: records, or what denies them; cut to what the way back carries."""
    opt = _opt(variant, errors)
    rrset = _asked(node, question.qtype) if node else None
    if node is None or rrset is None:
        packer = Packer(question.qname, question.qtype)
        packer.raw(apex.negative_soa())
        rcode = NXDOMAIN if node is None else NOERROR
        return packer.finish(0, _flags(variant, rcode, AA | RA), (0, 1, 0), opt)
    packer = Packer(question.qname, question.qtype)
    room = variant.limit - len(opt)
    for rdata in rrset.rdatas:
        packer.record(None, rrset.rtype, ttl, rdata)
        if len(packer) > room:
            if variant.limit < MAX_MESSAGE or node.whole:
                return _truncated(question, variant, opt)
            return _compile_part(question, rrset, variant, ttl, errors, shuffle)
    cut, additional, count = len(packer), 0, 0
    attached = node.attached.get(rrset.rtype)
    for group in attached() if attached else ():
        for owner, beside in group:
            for rdata in beside.rdatas:
                packer.record(owner, beside.rtype, ttl, rdata)
                count += 1
        if len(packer) > room:
            if node.whole:
                return _truncated(question, variant, opt)
            break
        cut, additional = len(packer), count
    return packer.finish(0, _flags(variant, NOERROR, AA | RA), (len(rrset.rdatas), 0, additional), opt, cut)


def _asked(node: Node, qtype: int) -> RRset | None:
    if qtype != ANY:
        return node.rrsets.get(qtype)
    # One RRset is a whole answer to ANY (RFC 8482 4.1); the one that says most.
    telling = [node.rrsets[each] for each in (SOA, SRV, PTR, TXT) if each in node.rrsets]
    return next(iter(telling or node.rrsets.values()), None)


def _truncated(question: Question, variant: _Variant, opt: bytes) -> bytes:
    """TC with question and OPT, and nothing half said."""
    packer = Packer(question.qname, question.qtype)
    return packer.finish(0, _flags(variant, NOERROR, AA | RA | TC), (0, 0, 0), opt)


def _compile_part(
    question: Question,
    rrset: RRset,
    variant: _Variant,
    ttl: int,
    errors: _Errors,
    shuffle: Callable[[MutableSequence[Rdata]], None],
) -> bytes:
    """An RRset that no message holds: the best priority first, then a random part, and how much it is."""
    rdatas = list(rrset.rdatas)
    shuffle(rdatas)
    if rrset.rtype == SRV:
        rdatas.sort(key=lambda rdata: rdata[0][:2])
    total = len(rdatas)
    room = MAX_MESSAGE - len(_opt(variant, (*errors, (EDE_OTHER, f"{total} of {total}"))))
    packer = Packer(question.qname, question.qtype)
    count, cut = 0, len(packer)
    for rdata in rdatas:
        packer.record(None, rrset.rtype, ttl, rdata)
        if len(packer) > room:
            break
        count, cut = count + 1, len(packer)
    opt = _opt(variant, (*errors, (EDE_OTHER, f"{count} of {total}")))
    return packer.finish(0, _flags(variant, NOERROR, AA | RA), (count, 0, 0), opt, cut)
