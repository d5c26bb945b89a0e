"""Templates of answers: the octets that most answers to one question share, and the fields that differ.

The answers of two peers with one service each differ only in numbers, label, addresses and TXT. After the first such
answer is read, others are compared with it and unpacked by one call. Answers with other differences are not read
here.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from struct import Struct
from typing import Any, Final

from ..base.errors import BadMessage
from ..base.inet import AF_INET, AF_INET6, inet_ntop
from ..base.model import Peer, Service
from ..dns.message import AAAA, IN, TXT, A, read_strings
from .answer import Answer, Told, service_of
from .instance_records import Attributes, read_attributes

_RR: Final = 12  # octets of a record before its RDATA, if its owner is a pointer
_NUMBERS: Final = 6  # octets of SRV RDATA before the target
_OPT: Final = 11  # octets of an OPT record without options; no other record is so short
_SINCE: Final = b"md.since="  # differs for each instance
_MOST_STRINGS: Final = 256
_MOST_TEXTS: Final = 4096
_OWN: Final = ("priority", "weight", "port", "label", "four", "six", "text", "since")

Own = tuple[int, int, int, bytes, bytes, bytes, bytes, bytes]
"""The fields that differ: priority, weight, port, label, A, AAAA, TXT, and the digits of ``md.since``."""

_NOBODY: Final = Peer("nobody", ("0.0.0.0",))


class Form:
    """A template, made of one answer."""

    def __init__(self, wire: bytes, name: str, parts: list[tuple[str, str]]) -> None:
        """`wire` has one service called `name`; `parts` are its octets after the id: (meaning, struct format)."""
        layout = Struct("!2x" + "".join(each for _, each in parts))
        places = {what: place for place, (what, _) in enumerate(parts)}
        self._name = name
        self._unpack = layout.unpack
        self._own_of: Callable[[Any], Own] = itemgetter(*(places[what] for what in _OWN))
        self._same_of: Callable[[Any], Any] = itemgetter(*(place for what, place in places.items() if what not in _OWN))
        self._same = self._same_of(layout.unpack(wire))
        self._dated = dict(parts)["since"] != "0s"
        self._texts: dict[bytes, Attributes] = {}

    def own(self, wire: bytes) -> Own | None:
        """Returns the fields of a message of the same length; None if it does not fit, or needs the full parser.

        A large lookup keeps only these fields until a caller needs the services.
        """
        fields = self._unpack(wire)
        if self._same_of(fields) != self._same:
            return None
        own = self._own_of(fields)
        _, _, port, _, _, _, text, digits = own
        known = text in self._texts or self._read_text(text)
        return own if known and port and (not digits or digits.isdigit()) else None

    def answer(self, own: Own) -> Answer:
        """Returns the content of the message with these fields."""
        one = self.service(own, _NOBODY, "", None)
        attributes = Attributes(dict(one.labels), one.since, one.meta, one.srv, one.held)
        told = Told(one.name, one.instance, one.priority, one.weight, own[2], one.addresses, attributes)
        return Answer((told,), False, False, False, ())

    def service(self, own: Own, peer: Peer, network: str, rtt_ms: float | None) -> Service:
        """Returns its service, like :func:`~mddns.codec.answer.introduce`."""
        priority, weight, port, label, four, six, text, digits = own
        labels, since, meta, srv, held = self._texts[text]
        addresses: tuple[str, ...] = (inet_ntop(AF_INET, four),) if four else ()
        if six:
            addresses = (*addresses, inet_ntop(AF_INET6, six))
        if digits:
            since = int(digits)
        instance, labels = label.decode("utf-8", "surrogateescape"), labels.copy()
        return service_of(
            self._name,
            instance,
            priority,
            weight,
            port,
            addresses,
            labels,
            since,
            meta,
            srv,
            held,
            peer,
            network,
            rtt_ms,
        )

    def _read_text(self, text: bytes) -> bool:
        """Reads and caches the attributes in TXT octets; returns False if the full parser has to read the message."""
        # The first of equal keys counts, in any case of letters: an earlier `md.since` needs the full parser.
        if self._dated and _SINCE[:-1] in text.lower():
            return False
        if len(self._texts) >= _MOST_TEXTS:
            return False
        try:
            self._texts[text] = read_attributes(read_strings(text, 0, len(text), _MOST_STRINGS - self._dated))
        except BadMessage:
            return False
        return True


def form_of(wire: bytes, at: int, told: Told) -> Form | None:
    """Makes the template of an answer whose only SRV record begins at `at`; None if it has other records.

    `told` is its service, as read by :func:`~mddns.codec.fast_answer.read_directly`.
    """
    target, end = at + _RR + _NUMBERS, at + _RR + int.from_bytes(wire[at + 10 : at + 12], "big")
    label = wire[target]
    parts = [("", f"{target - _NUMBERS - 2}s"), ("priority", "H"), ("weight", "H"), ("port", "H")]
    parts += [("length", "s"), ("label", f"{label}s")]
    behind = target + 1 + label
    seen = set()
    while len(wire) - end >= _RR:
        kind, start = wire[end + 2 : end + 6], end + _RR
        end = start + int.from_bytes(wire[start - 2 : start], "big")
        what = _KINDS.get(kind)
        if what is None or what in seen:
            return None
        seen.add(what)
        parts.append((f"before {what}", f"{start - behind}s"))
        parts += _text_parts(wire[start:end]) if what == "text" else [(what, f"{end - start}s")]
        behind = end
    if len(wire) - end not in (0, _OPT) or "text" not in seen:
        return None
    parts.append(("rest", f"{len(wire) - behind}s"))
    parts += [(what, "0s") for what in ("four", "six") if what not in seen]
    return Form(wire, told.name, parts)


_KINDS: Final = {
    rtype.to_bytes(2, "big") + IN.to_bytes(2, "big"): what
    for rtype, what in ((A, "four"), (AAAA, "six"), (TXT, "text"))
}


def _text_parts(text: bytes) -> list[tuple[str, str]]:
    """The parts of TXT RDATA: the text that many share, then the digits of ``md.since``, if it is the last string."""
    last = (read_strings(text, 0, len(text)) or [b""])[-1]
    digits = last[len(_SINCE) :]
    # The same condition as in `read_attributes`.
    if not (last.startswith(_SINCE) and digits.isdigit() and len(last) < 25):
        return [("text", f"{len(text)}s"), ("since", "0s")]
    return [
        ("text", f"{len(text) - 1 - len(last)}s"),
        ("before since", f"{1 + len(_SINCE)}s"),
        ("since", f"{len(digits)}s"),
    ]
