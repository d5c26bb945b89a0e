"""Answers as octets: records, or what denies them, cut to what the way back carries.

What to answer is decided by :mod:`mddns.responder`; here it becomes a message (RFC 1035, 2308, 6891).
"""

from __future__ import annotations

from collections.abc import Callable, MutableSequence
from typing import NamedTuple

from .apex import Apex
from .packer import Packer, Rdata, RRset, opt_record
from .wire import (
    AA,
    AAAA,
    ANY,
    CD,
    EDE_OTHER,
    HEADER,
    MAX_MESSAGE,
    NOERROR,
    NXDOMAIN,
    OPCODE,
    PTR,
    QR,
    RA,
    RD,
    SERVFAIL,
    SOA,
    SRV,
    TC,
    TXT,
    A,
    Query,
    Question,
)
from .zone import Node

Errors = tuple[tuple[int, str], ...]  # Extended DNS Errors: info-code and text
Shuffle = Callable[[MutableSequence[Rdata]], None]


class Variant(NamedTuple):
    """All that an answer depends on beside its question."""

    limit: int
    rd: bool
    cd: bool
    edns: bool
    do: bool


def _opt(variant: Variant, errors: Errors) -> bytes:
    return opt_record(do=variant.do, errors=errors) if variant.edns else b""


def compose_header(wire: bytes, flags: int, rcode: int) -> bytes:
    """A header alone: what can be said of a message that was not understood (RFC 1035 4.1.1)."""
    return HEADER.pack(wire[0] << 8 | wire[1], QR | flags & (OPCODE | RD) | rcode, 0, 0, 0, 0)


def _flags(variant: Variant, rcode: int, bits: int) -> int:
    return QR | bits | (RD if variant.rd else 0) | (CD if variant.cd else 0) | rcode & 0xF


def compose_plain(query: Query, variant: Variant, rcode: int, errors: Errors = ()) -> bytes:
    """An answer without records: question, OPT, rcode."""
    message = compose_error(query.question, variant, rcode, errors)
    return query.id.to_bytes(2, "big") + message[2:]


def compose_error(question: Question, variant: Variant, rcode: int, errors: Errors) -> bytes:
    packer = Packer(question.qname, question.qtype, question.qclass)
    opt = opt_record(rcode, do=variant.do, errors=errors) if variant.edns else b""
    # Recursion is to be had for our zone alone.
    bits = RA if rcode == SERVFAIL else 0
    return packer.finish(0, _flags(variant, rcode, bits), (0, 0, 0), opt)


def compose(
    question: Question,
    node: Node | None,
    apex: Apex,
    variant: Variant,
    ttl: int,
    errors: Errors,
    shuffle: Shuffle,
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
    for count, rdata in enumerate(rrset.rdatas):
        end = len(packer)
        packer.record(None, rrset.rtype, ttl, rdata)
        if len(packer) > room:
            if variant.limit < MAX_MESSAGE and rrset.rtype in (A, AAAA):
                # Some of the addresses are enough for a stub that has no TCP: musl before 1.2.4.
                return packer.finish(0, _flags(variant, NOERROR, AA | RA | TC), (count, 0, 0), opt, end)
            if variant.limit < MAX_MESSAGE or node.whole:
                return _truncated(question, variant, opt)
            return _compose_part(question, rrset, variant, ttl, errors, shuffle)
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


def _truncated(question: Question, variant: Variant, opt: bytes) -> bytes:
    """TC with question and OPT, and nothing half said."""
    packer = Packer(question.qname, question.qtype)
    return packer.finish(0, _flags(variant, NOERROR, AA | RA | TC), (0, 0, 0), opt)


def _compose_part(
    question: Question,
    rrset: RRset,
    variant: Variant,
    ttl: int,
    errors: Errors,
    shuffle: Shuffle,
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
