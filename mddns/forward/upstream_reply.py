"""Reduces an upstream response to the records that belong to its question, and writes it for each client.

An upstream may send more than the query asked for. This module keeps the records on the chain of aliases that begins at
the question's name, the proof of denial at its end, and the addresses of hosts that the answer names. It writes them
into a new body, so for each client only the TTLs of a :class:`Reply` change.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from struct import Struct
from typing import Final, NamedTuple

from ..base.errors import BadMessage
from ..base.names import Name
from ..dns.message import (
    AAAA,
    ANY,
    CD,
    IN,
    MAX_MESSAGE,
    NOERROR,
    NS,
    NXDOMAIN,
    OPCODE,
    PTR,
    QR,
    RA,
    RD,
    SOA,
    SRV,
    TC,
    A,
    Message,
    Names,
    Question,
    Record,
    read_record,
)
from ..dns.writer import Packer, Rdata, opt_record
from .upstream_query import AD, MOST_ERRORS

CNAME: Final = 5
MX: Final = 15
RRSIG: Final = 46
NSEC: Final = 47
NSEC3: Final = 50
DNAME: Final = 39

LONGEST: Final = 86_400  # maximum seconds in the cache
LONGEST_DENIAL: Final = 3600  # RFC 2308 5 recommends one to three hours
_MOST_ALIASES: Final = 16
_MOST_TTL: Final = 0x7FFF_FFFF

# Names in RDATA that may be compressed (RFC 3597 4). `_NAME_AT` has the offset of one name at the end of RDATA;
# `_TWO_NAMES` has the number of fixed octets behind two names at its beginning.
_NAME_AT: Final = {NS: 0, 3: 0, 4: 0, CNAME: 0, 7: 0, 8: 0, 9: 0, PTR: 0, MX: 2, 18: 2, 21: 2, SRV: 6, DNAME: 0}
_TWO_NAMES: Final = {SOA: 20, 14: 0, 17: 0}
_SERVICE_BINDINGS: Final = frozenset((64, 65))
_HINTS: Final = {4: 4, 6: 16}  # ipv4hint and ipv6hint: octets of one address
_DENIES: Final = frozenset((NSEC, NSEC3, RRSIG))
_TTL: Final = Struct("!I")
_HEADER: Final = Struct("!6H")
_SOA_TIMERS: Final = Struct("!5I")


class Kept(NamedTuple):
    """A record of a reply: its owner in lower case, its TTL in seconds."""

    owner: bytes
    rtype: int
    ttl: int
    rdata: Rdata


class Reply(NamedTuple):
    """A response without its header and question section.

    `body` has the octets of all records. `ttls` are the offsets of TTLs in `body`, each with its value. `counts` is the
    number of records in each section. `additional` is the offset of the additional section in `body`.
    `keep` is the seconds for which it may be cached; 0 means that only the client that asked gets it.
    `errors` are Extended DNS Errors. `addresses` are all IP addresses in the records.
    `leads` is the name under our apex at which its `aliases` end, b"" if there is none.
    """

    rcode: int
    authentic: bool
    body: bytes
    ttls: tuple[tuple[int, int], ...]
    counts: tuple[int, int, int]
    additional: int
    keep: int
    errors: tuple[tuple[int, str], ...]
    addresses: tuple[bytes, ...]
    leads: bytes = b""
    aliases: tuple[Kept, ...] = ()

    @property
    def octets(self) -> int:
        """Its approximate size in memory."""
        return len(self.body) + 100 * len(self.ttls) + 500


class For(NamedTuple):
    """A client's query: its id and flags, its question section, the most octets of a response, and its EDNS flags."""

    ident: bytes
    flags: int
    question: bytes
    limit: int
    edns: bool
    do: bool


def read_reply(message: Message, apex: Name | None = None) -> Reply:
    """Returns the reply to the question of `message`. BadMessage if its records are broken.

    A chain of aliases ends at the first name below `apex`. Records of names below it are dropped: they are ours.
    """
    question = message.question
    chain = _chain(message, apex)
    end = chain[-1]
    leads = end if apex and is_under(end, apex) else b""
    on_chain = frozenset(chain) - {leads}
    asked = question.qtype
    kinds = {asked, CNAME, RRSIG}
    answer = []
    for record in message.answer:
        if record.rclass != IN or (apex and is_under(record.key, apex)):
            continue
        if record.key in on_chain:
            wanted = asked == ANY or record.rtype in kinds
        else:  # the DNAME from which an alias was made (RFC 6672 3.1)
            above = any(name.endswith(record.key) and _is_below(name, record.key) for name in chain)
            wanted = above and record.rtype in (DNAME, RRSIG) and bool(_dnames(message))
        if wanted:
            answer.append(_kept(message, record))
    found = any(record.owner == end and (asked in (ANY, record.rtype)) for record in answer)
    keep = min((record.ttl for record in answer), default=LONGEST)
    if leads:
        aliases = tuple(_even(answer))
        return write_reply(question, NOERROR, (aliases, (), ()), keep)._replace(leads=leads, aliases=aliases)
    authority = []
    for record in message.authority:
        if record.rclass != IN or not _may_deny(record, end, found):
            continue
        if record.rtype == SOA:
            authority.append(_denial(message, record))
            keep = min(keep, authority[-1].ttl, LONGEST_DENIAL)
        else:
            authority.append(_kept(message, record))
            keep = min(keep, authority[-1].ttl)
    if not found and not any(record.rtype == SOA for record in authority):
        keep = 0  # RFC 2308 5: a negative answer without SOA is not cached
    named = {record.rdata[1].lower() for record in answer if record.rtype in (SRV, MX, NS) and record.rdata[1]}
    beside = [
        _kept(message, record)
        for record in message.additional
        if record.rclass == IN and record.key in named and record.rtype in (A, AAAA, RRSIG)
        if not (apex and is_under(record.key, apex))
    ]
    keep = min((keep, *(record.ttl for record in beside)))
    errors = tuple((code, text[:100]) for code, text in message.errors()[:MOST_ERRORS])
    rcode = message.rcode if message.rcode == NXDOMAIN else NOERROR
    sections = _even(answer), _even(authority), _even(beside)
    return write_reply(question, rcode, sections, keep, bool(message.flags & AD), errors)


def compose_reply(
    reply: Reply, asked: For, age: int, ttl: int | None = None, errors: tuple[tuple[int, str], ...] = ()
) -> bytes:
    """Returns the response for one client, `age` seconds after the answer came. `ttl`, if given, replaces all TTLs."""
    flags = QR | RA | asked.flags & (OPCODE | RD | CD) | reply.rcode & 0xF
    if reply.authentic and (asked.do or asked.flags & AD):
        flags |= AD  # RFC 6840 5.8
    opt = opt_record(do=asked.do, errors=(*reply.errors, *errors)) if asked.edns else b""
    room = asked.limit - 12 - len(asked.question) - len(opt)
    counts, end = reply.counts, len(reply.body)
    if end > room:
        counts, end = (*counts[:2], 0), reply.additional
    if end > room:
        # A truncated response has as many addresses as fit, for stub resolvers without TCP (musl before 1.2.4).
        ends = _ends(reply, room) if asked.question[-4:-2] in _ADDRESS_TYPES else []
        counts, end, flags = (len(ends), 0, 0), ends[-1] if ends else 0, flags | TC
    body = bytearray(reply.body[:end])
    for offset, left in reply.ttls:
        if offset < end:
            _TTL.pack_into(body, offset, max(0, left - age) if ttl is None else ttl)
    answers, authority, additional = counts
    head = flags.to_bytes(2, "big") + _COUNTS.pack(1, answers, authority, additional + bool(opt))
    return b"".join((asked.ident, head, asked.question, body, opt))


_COUNTS: Final = Struct("!4H")
_ADDRESS_TYPES: Final = frozenset(each.to_bytes(2, "big") for each in (A, AAAA))


def _ends(reply: Reply, room: int) -> list[int]:
    """Returns the end offsets in the body of the records of the answer section that fit into `room` octets."""
    rdatas = [offset + _TTL.size for offset, _ in reply.ttls[: reply.counts[0]]]
    ends = [at + 2 + int.from_bytes(reply.body[at : at + 2], "big") for at in rdatas]
    return [end for end in ends if end <= room]


def compose_failure(asked: For, rcode: int, errors: tuple[tuple[int, str], ...]) -> bytes:
    """Returns a response without records, with `rcode` and Extended DNS Errors."""
    flags = QR | RA | asked.flags & (OPCODE | RD | CD) | rcode & 0xF
    opt = opt_record(rcode, do=asked.do, errors=errors) if asked.edns else b""
    return b"".join((asked.ident, flags.to_bytes(2, "big"), _COUNTS.pack(1, 0, 0, bool(opt)), asked.question, opt))


def continue_reply(question: Question, aliases: Iterable[Kept], age: int, own: Message) -> Reply:
    """Returns a reply of `aliases`, received `age` seconds ago, and our own answer for the name at which they end."""
    before = [each._replace(ttl=max(0, each.ttl - age)) for each in aliases]
    sections = own.answer, own.authority, own.additional
    answer, authority, additional = ([_kept(own, record) for record in each] for each in sections)
    return write_reply(question, own.rcode, ([*before, *answer], authority, additional), 0, False, tuple(own.errors()))


def is_under(name: bytes, apex: Name) -> bool:
    """Whether `name` (in lower case) is `apex` or below it."""
    return name.endswith(apex.key) and _is_below(name, apex.key)


def _chain(message: Message, apex: Name | None) -> list[bytes]:
    """Returns the chain of aliases, from the question's name to the first name below `apex`."""
    key, qtype = message.question.key, message.question.qtype
    names = [key]
    if qtype in (CNAME, ANY):
        return names
    aliases = {record.key: record for record in message.answer if record.rtype == CNAME and record.rclass == IN}
    while (record := aliases.pop(names[-1], None)) is not None and len(names) <= _MOST_ALIASES:
        names.append(message.target(record).lower())
        if apex and is_under(names[-1], apex):
            break
    return names


def _dnames(message: Message) -> list[Record]:
    return [record for record in message.answer if record.rtype == DNAME]


def _is_below(name: bytes, above: bytes) -> bool:
    """Whether `above`, a suffix of `name`, begins at a label boundary of it."""
    at, cut = 0, len(name) - len(above)
    while at < cut:
        at += 1 + name[at]
    return at == cut


def _may_deny(record: Record, end: bytes, found: bool) -> bool:
    """Whether an authority record is the SOA of a denial for `end`, the end of the chain, or part of its proof."""
    if record.rtype == SOA:
        return not found and end.endswith(record.key) and _is_below(end, record.key)
    return record.rtype in _DENIES


def _kept(message: Message, record: Record) -> Kept:
    ttl = record.ttl if record.ttl <= _MOST_TTL else 0  # RFC 2181 8
    return Kept(record.key, record.rtype, min(ttl, LONGEST), _rdata(message, record))


def _denial(message: Message, record: Record) -> Kept:
    kept = _kept(message, record)
    minimum = _SOA_TIMERS.unpack(kept.rdata[0][-20:])[4]
    return kept._replace(ttl=min(kept.ttl, minimum, LONGEST_DENIAL))  # RFC 2308 3


def _rdata(message: Message, record: Record) -> Rdata:
    """Returns RDATA without compression, with a name at its end separate."""
    wire, start, end = message.wire, record.start, record.end
    at = _NAME_AT.get(record.rtype)
    if at is not None:
        name, behind = message.names.read(start + at)
        if start + at >= end or behind != end:
            raise BadMessage("RDATA of the wrong length")
        # The target of a DNAME must not be compressed (RFC 6672 2.1). For SRV, the packer ensures it.
        return (wire[start : start + at], name) if record.rtype != DNAME else (name, None)
    fixed = _TWO_NAMES.get(record.rtype)
    if fixed is None:
        return wire[start:end], None
    one, at = message.names.read(start)
    other, at = message.names.read(at)
    if at + fixed != end:
        raise BadMessage("RDATA of the wrong length")
    return one + other + wire[at:end], None


def _even(records: list[Kept]) -> list[Kept]:
    """Gives all records of an RRset its lowest TTL (RFC 2181 5.2), and removes duplicates."""
    lowest: dict[tuple[bytes, int], int] = {}
    for record in records:
        which = record.owner, record.rtype
        lowest[which] = min(record.ttl, lowest.get(which, record.ttl))
    return list(dict.fromkeys(record._replace(ttl=lowest[record.owner, record.rtype]) for record in records))


def write_reply(
    question: Question,
    rcode: int,
    sections: tuple[Sequence[Kept], Sequence[Kept], Sequence[Kept]],
    keep: int,
    authentic: bool = False,
    errors: tuple[tuple[int, str], ...] = (),
) -> Reply:
    """Returns the reply to `question` with these records. BadMessage if they do not fit into a message."""
    packer = Packer(question.key, question.qtype, question.qclass)
    begin, additional = len(packer), 0
    for section in sections:
        additional = len(packer) - begin  # after the loop: the start of the last section
        for owner, rtype, ttl, rdata in section:
            packer.record(None if owner == question.key else owner, rtype, ttl, rdata)
    answers, authorities, others = map(len, sections)
    counts = answers, authorities, others
    wire = packer.finish(0, 0, counts)
    if len(wire) > MAX_MESSAGE - 512:
        raise BadMessage("the answer does not fit into one DNS message")
    addresses = tuple(each for section in sections for record in section for each in _addresses(record))
    ttls = tuple(_ttls(wire, begin, sum(counts)))
    return Reply(rcode, authentic, wire[begin:], ttls, counts, additional, keep, errors, addresses)


def _addresses(record: Kept) -> Iterator[bytes]:
    """Yields the addresses of a record. Browsers use hints of SVCB and HTTPS as addresses (RFC 9460 7.3)."""
    rdata = record.rdata[0]
    if record.rtype in (A, AAAA):
        yield rdata
    elif record.rtype in _SERVICE_BINDINGS:
        at = 2
        while at < len(rdata) and 0 < rdata[at] < 0x40:
            at += 1 + rdata[at]
        at += 1
        while at + 4 <= len(rdata):
            key, length = rdata[at] << 8 | rdata[at + 1], rdata[at + 2] << 8 | rdata[at + 3]
            size = _HINTS.get(key, 0)
            for start in range(at + 4, at + 4 + length, size) if size else ():
                yield rdata[start : start + size]
            at += 4 + length


def _ttls(wire: bytes, begin: int, count: int) -> Iterator[tuple[int, int]]:
    names, at = Names(wire), begin
    for _ in range(count):
        record, at = read_record(wire, names, at)
        yield record.start - 6 - begin, record.ttl
