"""Names that are answered here, and never asked of an upstream: localhost and its kin.

RFC 6761 (localhost, invalid), RFC 7686 (onion), RFC 9462 6.4 (resolver.arpa), RFC 6303 (the reverse zones of loopback
and of addresses that no host has). If an upstream answered for one of them, a program could take a stranger for
this machine. ``.local`` is forwarded, as other resolvers do: Active Directory has its names there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ..base.names import Name
from ..dns.message import AAAA, ANY, NOERROR, NXDOMAIN, PTR, SOA, A, Question
from ..dns.writer import Rdata
from .upstream_reply import Kept, Reply, write_reply

_TTL: Final = 10_800  # seconds; RFC 6303 3
_TIMERS: Final = b"".join(each.to_bytes(4, "big") for each in (1, 3600, 1200, 604_800, _TTL))


def _wire(text: str) -> bytes:
    return Name.parse(text).wire


_LOCALHOST: Final = _wire("localhost.")
_RNAME: Final = _wire("nobody.invalid.")
_ADDRESSES: Final = {A: bytes((127, 0, 0, 1)), AAAA: bytes(15) + b"\1"}
_LOOPBACK_6: Final = _wire("1" + ".0" * 31 + ".ip6.arpa.")
_LOOPBACK_4: Final = _wire("1.0.0.127.in-addr.arpa.")

# Zones in which there is nothing, by what is said of a name below their apex.
_ZONES: Final = {
    **dict.fromkeys(map(_wire, ("invalid.", "onion.")), NXDOMAIN),
    _wire("resolver.arpa."): NOERROR,
    **dict.fromkeys(map(_wire, ("0.in-addr.arpa.", "127.in-addr.arpa.", "254.169.in-addr.arpa.")), NXDOMAIN),
    **dict.fromkeys(
        map(_wire, ("2.0.192.in-addr.arpa.", "100.51.198.in-addr.arpa.", "113.0.203.in-addr.arpa.")), NXDOMAIN
    ),
    _wire("255.255.255.255.in-addr.arpa."): NXDOMAIN,
    **dict.fromkeys((_LOOPBACK_6, _wire("0" + ".0" * 31 + ".ip6.arpa.")), NXDOMAIN),
    **dict.fromkeys((_wire(f"{digit}.e.f.ip6.arpa.") for digit in "89ab"), NXDOMAIN),
    _wire("8.b.d.0.1.0.0.2.ip6.arpa."): NXDOMAIN,
}
_LAST_LABELS: Final = frozenset((b"localhost", b"invalid", b"onion", b"arpa"))


def special_reply(question: Question) -> Reply | None:
    """The reply to a question of class IN for a special-use name, None for any other name."""
    key = question.key
    starts = _label_starts(key)
    if not starts or key[starts[-1] + 1 : -1] not in _LAST_LABELS:
        return None
    if key.endswith(_LOCALHOST):
        records = {rtype: (rdata, None) for rtype, rdata in _ADDRESSES.items()}
        return _reply(question, _LOCALHOST, records, NOERROR)
    if key in (_LOOPBACK_4, _LOOPBACK_6):
        return _reply(question, key, {PTR: (b"", _LOCALHOST)}, NOERROR)
    for start in starts:
        zone = key[start:]
        if (rcode := _ZONES.get(zone)) is not None:
            return _reply(question, zone, {}, rcode)
    return None


def _reply(question: Question, zone: bytes, records: Mapping[int, Rdata], rcode: int) -> Reply:
    if question.key == zone or _LOOPBACK_4.endswith(question.key):
        rcode = NOERROR  # names above one that exists do exist (RFC 8020)
    if question.key == zone:
        records = {**records, SOA: (zone + _RNAME + _TIMERS, None)}
    answer = [
        Kept(question.key, rtype, _TTL, rdata) for rtype, rdata in records.items() if question.qtype in (rtype, ANY)
    ]
    denial = [] if answer else [Kept(zone, SOA, _TTL, (zone + _RNAME + _TIMERS, None))]
    return write_reply(question, rcode, (answer, denial, ()), _TTL)


def _label_starts(name: bytes) -> list[int]:
    starts, at = [], 0
    while name[at]:
        starts.append(at)
        at += 1 + name[at]
    return starts
