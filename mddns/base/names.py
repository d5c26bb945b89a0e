"""Domain names: compared without ASCII case, printed as given (RFC 1034 3.1, RFC 4343).

A name is kept in uncompressed wire format: messages use it, and it is a fast dictionary key.
``wire.lower()`` changes only ASCII letters, and a length octet (at most 63) is never one.
This module knows no messages; :mod:`mddns.dns.message` reads compressed names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from .errors import BadMessage

MAX_NAME: Final = 255
MAX_LABEL: Final = 63

# Characters with a special meaning in a zone file or for dig (RFC 1035 5.1).
_SPECIAL: Final = frozenset(b'."\\;()@$')


def label_to_text(label: bytes) -> str:
    """One label in presentation format: ``b"a.b"`` is ``a\\.b``; octets beyond printable ASCII are ``\\DDD``."""
    out = []
    for octet in label:
        if octet in _SPECIAL:
            out.append("\\" + chr(octet))
        elif 0x21 <= octet <= 0x7E:
            out.append(chr(octet))
        else:
            out.append(f"\\{octet:03d}")
    return "".join(out)


def labels_to_wire(labels: Iterable[bytes]) -> bytes:
    """``(b"web", b"minidisc")`` as ``b"\\x03web\\x08minidisc\\x00"``. Raises BadMessage if it is not a valid name."""
    out = bytearray()
    for label in labels:
        if not 0 < len(label) <= MAX_LABEL:
            raise BadMessage(f"a label of {len(label)} octets: 1 to {MAX_LABEL} are allowed")
        out.append(len(label))
        out += label
    out.append(0)
    if len(out) > MAX_NAME:
        raise BadMessage(f"a name of {len(out)} octets: at most {MAX_NAME} are allowed")
    return bytes(out)


def wire_to_labels(wire: bytes) -> tuple[bytes, ...]:
    """The labels of an uncompressed wire name, without the root label."""
    labels = []
    at = 0
    while length := wire[at]:
        labels.append(wire[at + 1 : at + 1 + length])
        at += 1 + length
    return tuple(labels)


def _read_labels(text: str) -> Iterator[bytes]:
    """The labels of a name in presentation format: ``\\.`` and ``\\DDD`` are decoded, other text is UTF-8."""
    label = bytearray()
    at = 0
    while at < len(text):
        char = text[at]
        at += 1
        if char == ".":
            yield bytes(label)
            label.clear()
        elif char != "\\":
            label += char.encode("utf-8", "surrogateescape")
        elif len(digits := text[at : at + 3]) == 3 and digits.isascii() and digits.isdecimal():
            octet = int(digits)
            if octet > 255:
                raise BadMessage(f"{text!r}: \\{octet} is no octet; it must be \\000 to \\255")
            label.append(octet)
            at += 3
        elif at < len(text):
            label += text[at].encode("utf-8", "surrogateescape")
            at += 1
        else:
            raise BadMessage(f"{text!r}: ends with a single backslash")
    if label:
        yield bytes(label)


class Name:
    """An absolute domain name. Equal without ASCII case, printed as given.

    ``wire`` is the uncompressed wire format as given, ``key`` the same in lower case.
    """

    __slots__ = ("key", "wire")

    def __init__(self, wire: bytes) -> None:
        self.wire = wire
        self.key = wire.lower()

    @classmethod
    def parse(cls, text: str, origin: Name | None = None) -> Name:
        """Reads presentation format; a text without a final dot is relative to `origin` (to the root if None).

        Raises BadMessage for a name that DNS cannot hold.
        """
        if text in (".", ""):
            return ROOT if text or origin is None else origin
        try:
            labels = tuple(_read_labels(text))
        except UnicodeEncodeError:
            raise BadMessage(f"{text!r}: not valid UTF-8") from None
        relative = origin is not None and not _ends_in_dot(text)
        if any(not label for label in labels):
            raise BadMessage(f"{text!r}: has an empty label")
        return cls.of(labels, origin if relative else None)

    @classmethod
    def of(cls, labels: Iterable[bytes], origin: Name | None = None) -> Name:
        """Returns the name with `labels`, below `origin` if one is given."""
        return cls(labels_to_wire((*labels, *(origin.labels if origin else ()))))

    @property
    def labels(self) -> tuple[bytes, ...]:
        return wire_to_labels(self.wire)

    def relative_to(self, origin: Name) -> tuple[bytes, ...] | None:
        """The labels before `origin`: ``()`` for `origin` itself, None for a name that is not at or below it."""
        labels, suffix = self.labels, origin.labels
        cut = len(labels) - len(suffix)
        if cut < 0 or not self.key.endswith(origin.key) or wire_to_labels(self.key)[cut:] != wire_to_labels(origin.key):
            return None
        return labels[:cut]

    def __str__(self) -> str:
        return "".join(label_to_text(label) + "." for label in self.labels) or "."

    def __repr__(self) -> str:
        return f"Name({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Name) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


def _ends_in_dot(text: str) -> bool:
    """Whether `text` ends in a dot that is not escaped."""
    return text.endswith(".") and (len(text) - 1 - len(text[:-1].rstrip("\\"))) % 2 == 0


ROOT: Final = Name(b"\0")
