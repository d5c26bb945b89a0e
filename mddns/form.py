"""What most answers to one question have in common, and where each has something of its own.

A peer tells of its one service in the same octets as the next peer, but for numbers, label, addresses and TXT. Once one
such answer was read, others are compared with it and taken apart by one call. What differs anywhere else is not read
here.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from socket import AF_INET, AF_INET6, inet_ntop
from struct import Struct
from typing import Any, Final

from .answers import Answer, Told
from .errors import BadMessage
from .instance import Attributes, read_attributes
from .wire import AAAA, IN, TXT, A, read_strings

_RR: Final = 12  # octets of a record in front of its RDATA, where its owner is a pointer
_NUMBERS: Final = 6  # octets of an SRV record in front of its target
_OPT: Final = 11  # octets of an OPT record without options; no other record is so short
_SINCE: Final = b"md.since="  # what is another for each instance
_MOST_STRINGS: Final = 256
_MOST_TEXTS: Final = 512
_OWN: Final = ("priority", "weight", "port", "label", "four", "six", "text", "since")
# What the class of a NamedTuple has of its own takes twice the time.
_new: Final = tuple.__new__


class Form:
    """The answers that are like one of them."""

    def __init__(self, wire: bytes, name: str, parts: list[tuple[str, str]]) -> None:
        """`wire` tells of one service called `name`; `parts` are its octets behind the id: what each is, its format."""
        layout = Struct("!2x" + "".join(each for _, each in parts))
        places = {what: place for place, (what, _) in enumerate(parts)}
        self._name = name
        self._unpack = layout.unpack
        self._own_of: Callable[[Any], Any] = itemgetter(*(places[what] for what in _OWN))
        self._same_of: Callable[[Any], Any] = itemgetter(*(place for what, place in places.items() if what not in _OWN))
        self._same = self._same_of(layout.unpack(wire))
        self._dated = dict(parts)["since"] != "0s"
        self._texts: dict[bytes, Attributes] = {}

    def read(self, wire: bytes) -> Answer | None:
        """What a message of the same length tells; None where it is not like the others, or has to be looked at."""
        fields = self._unpack(wire)
        if self._same_of(fields) != self._same:
            return None
        priority, weight, port, label, four, six, text, digits = self._own_of(fields)
        attributes = self._texts.get(text) or self._read_text(text)
        if attributes is None or not port:
            return None
        labels, since, meta, srv, held = attributes
        if digits:
            if not digits.isdigit():
                return None
            since = int(digits)
        addresses: tuple[str, ...] = (inet_ntop(AF_INET, four),) if four else ()
        if six:
            addresses = (*addresses, inet_ntop(AF_INET6, six))
        own = _new(Attributes, (labels.copy(), since, meta, srv, held))
        instance = label.decode("utf-8", "surrogateescape")
        told = _new(Told, (self._name, instance, priority, weight, port, addresses, own))
        return _new(Answer, ((told,), False, False, False, ()))

    def _read_text(self, text: bytes) -> Attributes | None:
        # Of equal keys the first stands, in any case of letters: where one is in front, it is not for us to say.
        if self._dated and _SINCE[:-1] in text.lower():
            return None
        try:
            attributes = read_attributes(read_strings(text, 0, len(text), _MOST_STRINGS - self._dated))
        except BadMessage:
            return None
        if len(self._texts) >= _MOST_TEXTS:
            self._texts.clear()
        self._texts[text] = attributes
        return attributes


def form_of(wire: bytes, at: int, told: Told) -> Form | None:
    """The form of an answer whose one SRV record begins at `at`, and which :func:`~mddns.direct.read_directly` has
    read as `told`; None where it has more in it."""
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
    """TXT RDATA: what many say, and behind it when the instance came up, where that is the last string."""
    last = (read_strings(text, 0, len(text)) or [b""])[-1]
    digits = last[len(_SINCE) :]
    # As `read_attributes` knows it at a glance.
    if not (last.startswith(_SINCE) and digits.isdigit() and len(last) < 25):
        return [("text", f"{len(text)}s"), ("since", "0s")]
    return [
        ("text", f"{len(text) - 1 - len(last)}s"),
        ("before since", f"{1 + len(_SINCE)}s"),
        ("since", f"{len(digits)}s"),
    ]
