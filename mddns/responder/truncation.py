"""Truncates an answer that is too large: it keeps the records that fit, or sends TC without records (RFC 2181 9).

TC lets the client ask again over TCP. An RRset that is too large even for TCP is sent in part, with an
Extended DNS Error that gives the number of records sent and the total.
"""

from __future__ import annotations

from collections.abc import Callable, MutableSequence

from ..dns.message import AA, AAAA, EDE_OTHER, MAX_MESSAGE, NOERROR, RA, SRV, TC, A, Question
from ..dns.writer import Packer, Rdata, RRset
from ..zone.zone import Node
from .variant import Errors, Variant

Shuffle = Callable[[MutableSequence[Rdata]], None]


def fit(
    question: Question,
    node: Node,
    rrset: RRset,
    variant: Variant,
    ttl: int,
    errors: Errors,
    shuffle: Shuffle,
) -> bytes:
    """Writes an answer with `rrset` and its additional records, truncated to the size that the client can receive."""
    opt = variant.opt(errors)
    packer = Packer(question.qname, question.qtype)
    room = variant.limit - len(opt)
    for count, rdata in enumerate(rrset.rdatas):
        end = len(packer)
        packer.record(None, rrset.rtype, ttl, rdata)
        if len(packer) > room:
            if variant.limit < MAX_MESSAGE and rrset.rtype in (A, AAAA):
                # A stub without TCP (musl before 1.2.4) can use some of the addresses.
                return packer.finish(0, variant.flags(NOERROR, AA | RA | TC), (count, 0, 0), opt, end)
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
    return packer.finish(0, variant.flags(NOERROR, AA | RA), (len(rrset.rdatas), 0, additional), opt, cut)


def _truncated(question: Question, variant: Variant, opt: bytes) -> bytes:
    """Writes a truncated answer without records: TC, question and OPT."""
    packer = Packer(question.qname, question.qtype)
    return packer.finish(0, variant.flags(NOERROR, AA | RA | TC), (0, 0, 0), opt)


def _compose_part(
    question: Question,
    rrset: RRset,
    variant: Variant,
    ttl: int,
    errors: Errors,
    shuffle: Shuffle,
) -> bytes:
    """Writes a random part of an RRset that no message can hold, and how much it is; SRV records by priority."""
    rdatas = list(rrset.rdatas)
    shuffle(rdatas)
    if rrset.rtype == SRV:
        rdatas.sort(key=lambda rdata: rdata[0][:2])
    total = len(rdatas)
    room = MAX_MESSAGE - len(variant.opt((*errors, (EDE_OTHER, f"{total} of {total}"))))
    packer = Packer(question.qname, question.qtype)
    count, cut = 0, len(packer)
    for rdata in rdatas:
        packer.record(None, rrset.rtype, ttl, rdata)
        if len(packer) > room:
            break
        count, cut = count + 1, len(packer)
    opt = variant.opt((*errors, (EDE_OTHER, f"{count} of {total}")))
    return packer.finish(0, variant.flags(NOERROR, AA | RA), (count, 0, 0), opt, cut)
