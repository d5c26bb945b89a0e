"""Writes answers: records, or a negative answer with the SOA, or an error (RFC 1035, 2308, 6891).

:mod:`mddns.responder.responder` decides what to answer; :mod:`mddns.responder.truncation` cuts an answer that is
too large.
"""

from __future__ import annotations

from ..dns.message import (
    AA,
    ANY,
    HEADER,
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
    TXT,
    Query,
    Question,
)
from ..dns.writer import Packer, RRset
from ..zone.apex import Apex
from ..zone.zone import Node
from .truncation import Shuffle, fit
from .variant import Errors, Variant


def compose_header(wire: bytes, flags: int, rcode: int) -> bytes:
    """Writes an answer that is only a header, for a message that cannot be read (RFC 1035 4.1.1)."""
    return HEADER.pack(wire[0] << 8 | wire[1], QR | flags & (OPCODE | RD) | rcode, 0, 0, 0, 0)


def compose_plain(query: Query, variant: Variant, rcode: int, errors: Errors = ()) -> bytes:
    """Writes an answer without records: question, OPT, rcode."""
    message = compose_error(query.question, variant, rcode, errors)
    return query.id.to_bytes(2, "big") + message[2:]


def compose_error(question: Question, variant: Variant, rcode: int, errors: Errors) -> bytes:
    """Writes the same answer with the message ID 0, so that it can be cached."""
    packer = Packer(question.qname, question.qtype, question.qclass)
    opt = variant.opt(errors, rcode)
    # RA is only set for names of our own zone: for all others recursion is not available.
    bits = RA if rcode == SERVFAIL else 0
    return packer.finish(0, variant.flags(rcode, bits), (0, 0, 0), opt)


def compose(
    question: Question,
    node: Node | None,
    apex: Apex,
    variant: Variant,
    ttl: int,
    errors: Errors,
    shuffle: Shuffle,
) -> bytes:
    """Writes the answer: the records of `node`, as many as the client can receive, or NXDOMAIN or NODATA."""
    rrset = _asked(node, question.qtype) if node else None
    if node is None or rrset is None:
        packer = Packer(question.qname, question.qtype)
        packer.raw(apex.negative_soa())
        rcode = NXDOMAIN if node is None else NOERROR
        return packer.finish(0, variant.flags(rcode, AA | RA), (0, 1, 0), variant.opt(errors))
    return fit(question, node, rrset, variant, ttl, errors, shuffle)


def _asked(node: Node, qtype: int) -> RRset | None:
    if qtype != ANY:
        return node.rrsets.get(qtype)
    # One RRset is a complete answer to ANY (RFC 8482 4.1): the most useful one.
    telling = [node.rrsets[each] for each in (SOA, SRV, PTR, TXT) if each in node.rrsets]
    return next(iter(telling or node.rrsets.values()), None)
