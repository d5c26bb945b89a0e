"""Reading DNS messages: a linear scanner that no message can slow down (RFC 1035 4.1).

Every name of a message is decoded once and cached by its offset, a pointer must point backwards, and a
chain of pointers is at most 16 long. So 65 kB of hostile octets cost as much as 65 kB of valid ones. Names are
returned in uncompressed wire format (see :mod:`mddns.base.names`). Other modules interpret the RDATA;
:mod:`mddns.dns.writer` writes messages.
"""

from struct import Struct
from typing import Final, NamedTuple

from ..base.errors import BadMessage

A: Final = 1
NS: Final = 2
CNAME: Final = 5
SOA: Final = 6
PTR: Final = 12
TXT: Final = 16
AAAA: Final = 28
SRV: Final = 33
OPT: Final = 41
IXFR: Final = 251
AXFR: Final = 252
ANY: Final = 255

IN: Final = 1

NOERROR: Final = 0
FORMERR: Final = 1
SERVFAIL: Final = 2
NXDOMAIN: Final = 3
NOTIMP: Final = 4
REFUSED: Final = 5
NOTAUTH: Final = 9
BADVERS: Final = 16

QR: Final = 0x8000
OPCODE: Final = 0x7800
AA: Final = 0x0400
TC: Final = 0x0200
RD: Final = 0x0100
RA: Final = 0x0080
CD: Final = 0x0010

EDNS_DO: Final = 0x8000
EDE: Final = 15  # the option code of Extended DNS Errors (RFC 8914); below, its info-codes
EDE_OTHER: Final = 0
EDE_NOT_READY: Final = 14
EDE_PROHIBITED: Final = 18
EDE_NO_AUTHORITY: Final = 22
EDE_NETWORK_ERROR: Final = 23

MAX_HOPS: Final = 16
LONG_NAME: Final = 16  # labels
MAX_MESSAGE: Final = 65535

HEADER: Final = Struct("!6H")
_TYPE_CLASS: Final = Struct("!2H")
_RR: Final = Struct("!2HIH")
_SRV: Final = Struct("!3H")
_SOA_NUMBERS: Final = 20  # octets after its two names


class Question(NamedTuple):
    """One question. ``qname`` is the name as the client spelled it, ``key`` the same in lower case."""

    qname: bytes
    key: bytes
    qtype: int
    qclass: int


class Edns(NamedTuple):
    """An OPT record (RFC 6891 6.1): UDP size, upper bits of the rcode, version, DO, the octets of the options."""

    size: int
    high: int
    version: int
    do: bool
    options: bytes


class Query(NamedTuple):
    """The parts of a query that a responder needs: header, one question, EDNS, and the client's serial in an IXFR."""

    id: int
    flags: int
    question: Question
    edns: Edns | None
    serial: int | None = None


class Record(NamedTuple):
    """One RR. ``key`` is the owner in lower case; RDATA are ``message[start:end]``."""

    key: bytes
    rtype: int
    rclass: int
    ttl: int
    start: int
    end: int


class Names:
    """The names of one message, each decoded once."""

    __slots__ = ("_known", "_wire")

    def __init__(self, wire: bytes) -> None:
        self._wire = wire
        self._known: dict[int, tuple[bytes, int]] = {}

    def read(self, at: int) -> tuple[bytes, int]:
        """Returns the name at offset `at` in uncompressed wire format, and the offset after it. Raises BadMessage."""
        return self._read(at, MAX_HOPS)

    def _read(self, at: int, hops: int) -> tuple[bytes, int]:
        known = self._known.get(at)
        if known is not None:
            return known
        wire, start, begun, labels = self._wire, at, at, 0
        try:
            while True:
                length = wire[at]
                labels += 1
                if length == 0:
                    name, end = wire[start : at + 1], at + 1
                    break
                if length < 0x40:
                    at += 1 + length
                    continue
                if length < 0xC0:
                    raise BadMessage("a label type that RFC 6891 5 has retired")
                target = (length & 0x3F) << 8 | wire[at + 1]
                # Strictly backwards, so no loop is possible; the hop limit bounds the recursion.
                if target >= begun or not hops:
                    raise BadMessage(
                        "a compression pointer that does not point backwards, or too many pointers in a chain"
                    )
                rest, _ = self._read(target, hops - 1)
                name, end = wire[start:at] + rest, at + 2
                break
        except IndexError:
            raise BadMessage("the message ends within a name") from None
        if len(name) > 255:
            raise BadMessage("a name of more than 255 octets")
        self._known[begun] = result = name, end
        if labels > LONG_NAME:
            # Only an attacker sends such names; pointers to each of their labels must not cost more time.
            at = start
            while at < end and 0 < wire[at] < 0x40:
                at += 1 + wire[at]
                self._known[at] = name[at - start :], end
        return result


def read_question(wire: bytes, at: int = 12) -> tuple[Question, int]:
    """Returns the question at offset `at`, whose name must not be compressed, and the offset after it."""
    begun = at
    try:
        while length := wire[at]:
            if length > 63:
                raise BadMessage("a compressed name in the question")
            at += 1 + length
    except IndexError:
        raise BadMessage("the message ends within the question") from None
    at += 1
    if at - begun > 255 or at + 4 > len(wire):
        raise BadMessage("the message ends within the question, or its name is too long")
    qname = wire[begun:at]
    qtype, qclass = _TYPE_CLASS.unpack_from(wire, at)
    return Question(qname, qname.lower(), qtype, qclass), at + 4


def read_query(wire: bytes) -> Query:
    """Reads a query: header, exactly one question, at most one OPT. Raises BadMessage for anything else.

    The caller has checked QR and opcode. Other records than OPT are skipped; octets after the last record
    are a format error, as in BIND.
    """
    ident, flags, questions, answers, authority, additional = HEADER.unpack_from(wire)
    if questions != 1:
        raise BadMessage(f"{questions} questions; a query must have one")
    question, at = read_question(wire)
    # Only IXFR has an authority record (RFC 1995 3); only TSIG and OPT are additional (RFC 8945, RFC 6891).
    if answers or authority > (question.qtype == IXFR) or additional > 2:
        raise BadMessage("a query that contains records")
    edns = serial = None
    if authority or additional:
        names = Names(wire)
        for number in range(authority + additional):
            record, at = read_record(wire, names, at)
            if number < authority and record.rtype == SOA and record.key == question.key:
                serial = soa_serial(wire, names, record)
            elif record.rtype == OPT:
                if edns is not None or record.key != b"\0":
                    raise BadMessage("more than one OPT record, or one whose owner is not the root")
                edns = _edns(wire, record)
    if at != len(wire):
        raise BadMessage("octets after the last record")
    return Query(ident, flags, question, edns, serial)


def read_record(wire: bytes, names: Names, at: int) -> tuple[Record, int]:
    """Returns the RR at offset `at` and the offset after it."""
    owner, at = names.read(at)
    if at + 10 > len(wire):
        raise BadMessage("the message ends within a record")
    rtype, rclass, ttl, length = _RR.unpack_from(wire, at)
    end = at + 10 + length
    if end > len(wire):
        raise BadMessage("the message ends within RDATA")
    return Record(owner.lower(), rtype, rclass, ttl, at + 10, end), end


def read_strings(wire: bytes, at: int, end: int, most: int = 256) -> list[bytes]:
    """The character-strings of TXT RDATA (RFC 1035 3.3.14), at most `most`. Raises BadMessage if there are more."""
    out: list[bytes] = []
    while at < end:
        behind = at + 1 + wire[at]
        if behind > end or len(out) == most:
            raise BadMessage("a TXT record whose strings are longer than its RDATA, or are too many")
        out.append(wire[at + 1 : behind])
        at = behind
    return out


def rdata_of(wire: bytes, names: Names, record: Record) -> bytes:
    """Returns RDATA with uncompressed names (RFC 3597 4 lists the types that may have compressed ones)."""
    at, end = record.start, record.end
    if record.rtype == SOA:
        mname, at = names.read(at)
        rname, at = names.read(at)
        if at + _SOA_NUMBERS != end:
            raise BadMessage("an SOA record of the wrong length")
        return mname + rname + wire[at:end]
    if record.rtype not in (NS, CNAME, PTR, SRV):
        return wire[at:end]
    fixed = _SRV.size if record.rtype == SRV else 0
    if at + fixed >= end:
        raise BadMessage("RDATA that are too short")
    name, behind = names.read(at + fixed)
    if behind != end:
        raise BadMessage("RDATA of the wrong length")
    return wire[at : at + fixed] + name


def soa_serial(wire: bytes, names: Names, record: Record) -> int:
    """The serial in an SOA record (RFC 1035 3.3.13)."""
    _, at = names.read(record.start)
    _, at = names.read(at)
    if at + _SOA_NUMBERS != record.end:
        raise BadMessage("an SOA record of the wrong length")
    return int.from_bytes(wire[at : at + 4], "big")


def _edns(wire: bytes, record: Record) -> Edns:
    options = wire[record.start : record.end]
    at = 0
    while at < len(options):
        if at + 4 > len(options):
            raise BadMessage("an EDNS option that is cut off")
        at += 4 + int.from_bytes(options[at + 2 : at + 4], "big")
    if at != len(options):
        raise BadMessage("an EDNS option that is cut off")
    return Edns(record.rclass, record.ttl >> 24, record.ttl >> 16 & 0xFF, bool(record.ttl & EDNS_DO), options)


def ttl_offsets(wire: bytes) -> tuple[int, ...]:
    """Returns the offsets of the TTLs of a message's records; an OPT record has no TTL."""
    _, _, _, answers, authority, additional = HEADER.unpack_from(wire)
    _, at = read_question(wire)
    names, found = Names(wire), []
    for _ in range(answers + authority + additional):
        record, at = read_record(wire, names, at)
        if record.rtype != OPT:
            found.append(record.start - 6)
    return tuple(found)


def with_ttl(wire: bytes, offsets: tuple[int, ...], ttl: int) -> bytes:
    """Returns a copy of a message with `ttl` at each of `offsets`."""
    message, octets = bytearray(wire), ttl.to_bytes(4, "big")
    for at in offsets:
        message[at : at + 4] = octets
    return bytes(message)


class Message:
    """A parsed response: header, question, the records of each section, EDNS."""

    __slots__ = ("additional", "answer", "authority", "edns", "flags", "id", "names", "question", "rcode", "wire")

    def __init__(self, wire: bytes) -> None:
        """Parses `wire`. Raises BadMessage if it is not a complete message with one question."""
        if len(wire) < 12:
            raise BadMessage("a message that is shorter than its header")
        if len(wire) > MAX_MESSAGE:
            raise BadMessage("a message of more than 65,535 octets")
        self.wire = wire
        self.id, self.flags, questions, *counts = HEADER.unpack_from(wire)
        if questions != 1:
            raise BadMessage(f"{questions} questions in a response; it must have one")
        self.question, at = read_question(wire)
        self.names = Names(wire)
        self.edns: Edns | None = None
        sections: list[list[Record]] = []
        for count in counts:
            section = []
            for _ in range(count):
                record, at = read_record(wire, self.names, at)
                if record.rtype == OPT:
                    self.edns = _edns(wire, record)
                else:
                    section.append(record)
            sections.append(section)
        self.answer, self.authority, self.additional = sections
        self.rcode = self.flags & 0xF
        if self.edns:
            self.rcode |= self.edns.high << 4

    def srv(self, record: Record) -> tuple[int, int, int, bytes]:
        """Priority, weight, port and target of an SRV record (RFC 2782)."""
        if record.start + 7 > record.end:
            raise BadMessage("an SRV record that is too short")
        priority, weight, port = _SRV.unpack_from(self.wire, record.start)
        return priority, weight, port, self._only_name(record.start + 6, record.end)

    def target(self, record: Record) -> bytes:
        """The name in a PTR or NS record."""
        return self._only_name(record.start, record.end)

    def _only_name(self, at: int, end: int) -> bytes:
        name, behind = self.names.read(at)
        if behind != end:
            raise BadMessage("RDATA of the wrong length")
        return name

    def strings(self, record: Record) -> list[bytes]:
        """The character-strings of a TXT record."""
        return read_strings(self.wire, record.start, record.end)

    def options(self) -> list[tuple[int, bytes]]:
        """Its EDNS options (RFC 6891 6.1.2): code and data."""
        found = []
        octets = self.edns.options if self.edns else b""
        at = 0
        while at < len(octets):
            code, length = _TYPE_CLASS.unpack_from(octets, at)
            found.append((code, octets[at + 4 : at + 4 + length]))
            at += 4 + length
        return found

    def errors(self) -> list[tuple[int, str]]:
        """The Extended DNS Errors in it (RFC 8914 2): info-code and extra text."""
        return [
            (int.from_bytes(data[:2], "big"), data[2:].decode("utf-8", "replace").rstrip("\0"))
            for code, data in self.options()
            if code == EDE and len(data) >= 2
        ]
