"""Records of any type in presentation format: the only import of dnslib.

dnslib gets the RDATA of one record at a time; our scanner reads all names. Its parser of whole messages
can take seconds for one hostile packet, and its names lose the difference between a dot in a label and a
dot between labels.
"""

from __future__ import annotations

from typing import Final

import dnslib

from ..base.errors import BadMessage, ConfigError
from ..base.names import Name
from .message import NS, PTR, SOA, SRV, TXT, Message, Record

_CNAME: Final = 5


def type_number(text: str) -> int:
    """``SRV`` as 33, ``TYPE65280`` as 65280; raises ConfigError for an unknown type."""
    upper = text.upper()
    if upper.startswith("TYPE") and upper[4:].isascii() and upper[4:].isdecimal() and int(upper[4:]) < 65536:
        return int(upper[4:])
    try:
        return int(getattr(dnslib.QTYPE, upper))
    except (dnslib.DNSError, AttributeError, ValueError):
        raise ConfigError(f"type {text!r}: must be a record type, as in SRV, TXT, A, PTR or TYPE65280") from None


def type_text(rtype: int) -> str:
    """33 as ``SRV``; an unknown type as ``TYPE65280`` (RFC 3597 5)."""
    name = dnslib.QTYPE.forward.get(rtype)
    return str(name) if name else f"TYPE{rtype}"


def rcode_text(rcode: int) -> str:
    """3 as ``NXDOMAIN``."""
    return str(dnslib.RCODE.forward.get(rcode) or f"RCODE{rcode}")


def record_text(message: Message, record: Record) -> str:
    """``web.minidisc. 5 IN SRV 10 10 8080 alpha-8080.web.minidisc.``; names as spelled in the message."""
    rdata = message.wire[record.start : record.end]
    try:
        text = _known(message, record)
        if text is None:
            # Only types of RFC 1035 may have compressed names, and `_known` reads those.
            parsed = dnslib.RDMAP[type_text(record.rtype)].parse(dnslib.DNSBuffer(rdata), len(rdata))
            text = str(parsed)
    except (BadMessage, KeyError, dnslib.DNSError, dnslib.buffer.BufferError, ValueError, IndexError, RecursionError):
        text = f"\\# {len(rdata)} {rdata.hex()}".rstrip()
    return f"{Name(record.key)} {record.ttl} IN {type_text(record.rtype)} {text}"


def _known(message: Message, record: Record) -> str | None:
    if record.rtype == SRV:
        priority, weight, port, target = message.srv(record)
        return f"{priority} {weight} {port} {Name(target)}"
    if record.rtype in (NS, PTR, _CNAME):
        return str(Name(message.target(record)))
    if record.rtype == TXT:
        return " ".join(_quoted(string) for string in message.strings(record))
    if record.rtype == SOA:
        mname, at = message.names.read(record.start)
        rname, at = message.names.read(at)
        if record.end - at != 20:
            raise BadMessage("an SOA record of the wrong length")
        numbers = [int.from_bytes(message.wire[n : n + 4], "big") for n in range(at, record.end, 4)]
        return f"{Name(mname)} {Name(rname)} {' '.join(map(str, numbers))}"
    return None


def _quoted(string: bytes) -> str:
    out = []
    for octet in string:
        if octet in b'"\\':
            out.append("\\" + chr(octet))
        else:
            out.append(chr(octet) if 0x20 <= octet <= 0x7E else f"\\{octet:03d}")
    return f'"{"".join(out)}"'
