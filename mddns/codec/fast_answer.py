"""Reads the answers of many peers to one question quickly.

It reads equal answers once. It reads the answers of our own responders to SRV of a name without decoding names: they
have the owner of an answer as a pointer to the question, an SRV target in full, and the owners of its TXT, A and AAAA
as pointers to that target. So records with equal pointers belong together. All other answers go to
:mod:`mddns.dns.message` and :mod:`mddns.codec.answer`, which read any message, with the same result.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from ..base.errors import BadMessage
from ..base.inet import AF_INET, AF_INET6, inet_ntop
from ..base.names import Name
from ..base.policy import MAX_FROM_PEER
from ..dns.message import AAAA, IN, QR, SOA, SRV, TXT, A, Message
from .answer import Answer, Told, read_answer
from .instance_records import read_attributes, readable_name

if TYPE_CHECKING:
    from .answer_template import Form, Own

_HEADER: Final = struct.Struct("!6H")
_RR: Final = struct.Struct("!H2IH")  # a pointer for owner, type and class, TTL, length of RDATA
_SRV: Final = struct.Struct("!3H")
_QUESTION: Final = 0xC00C
_SERIAL_AND_TIMERS: Final = 20  # octets at the end of an SOA record (RFC 1035 3.3.13)
_MOST_STRINGS: Final = 256
_FEW: Final = 8  # so few answers are not worth a template
_MOST_FORMS: Final = 64
_MOST_OF_A_LENGTH: Final = 4
_LONGEST: Final = 191  # octets of a name that is still valid after an instance's label
# Type and class as one number.
_IN_SRV: Final = SRV << 16 | IN
_IN_TXT: Final = TXT << 16 | IN
_IN_A: Final = A << 16 | IN
_IN_AAAA: Final = AAAA << 16 | IN


# An answer without records: its octets before and after the serial of its SOA, and its content.
_Denial = tuple[bytes, bytes, Answer]


class Reader:
    """Reads the answers to one question. It parses the most common one, "no such service", only once."""

    def __init__(self, apex: Name, question: bytes, *, by_name: bool) -> None:
        """`question` is name, type and class as sent; `by_name`: it is SRV of one label and the apex."""
        self._apex = apex
        self._question = question
        self._by_name = by_name
        self._empty: dict[bytes, Answer] = {}
        self._denials: dict[int, _Denial] = {}  # by length
        self._forms: dict[int, list[Form]] = {}  # by length
        self._read = 0

    def read(self, wire: bytes) -> Answer | None:
        """Returns the content of a message; None if it does not answer the question."""
        seen = self.glance(wire)
        if seen is None or isinstance(seen, Answer):
            return seen
        form, own = seen
        return form.answer(own)

    def glance(self, wire: bytes) -> Answer | tuple[Form, Own] | None:
        """Like :meth:`read`, but returns a message that fits a template as that template and the fields that differ."""
        denial = self._denials.get(len(wire))
        if denial is not None:
            before, behind, answer = denial
            # Each host's zone has its own serial, which does not matter here.
            if wire.startswith(before, 2) and wire.endswith(behind):
                return answer
        for form in self._forms.get(len(wire), ()):
            if (own := form.own(wire)) is not None:
                return form, own
        question = self._question
        # QR set, opcode 0, and the same question: a responder copies it with its case.
        if len(wire) < 12 or wire[2] & 0xF8 != QR >> 8 or wire[12 : 12 + len(question)] != question:
            return None
        try:
            if wire[6] or wire[7]:
                # It has records, which differ for each peer.
                direct = read_directly(wire, question) if self._by_name else None
                if direct is None:
                    return read_answer(Message(wire), self._apex)
                self._remember(wire, direct)
                return direct
            return self._empty.get(wire[2:]) or self._read_empty(wire)
        except BadMessage:
            return None

    def _remember(self, wire: bytes, answer: Answer) -> None:
        """Makes a template of an answer if there are many, so that similar ones are read quickly."""
        self._read += 1
        if not _FEW < self._read <= _FEW + _MOST_FORMS or len(answer.told) != 1:
            return
        from .answer_template import form_of

        form = form_of(wire, 12 + len(self._question), answer.told[0])
        alike = self._forms.setdefault(len(wire), [])
        if form and len(alike) < _MOST_OF_A_LENGTH:
            alike.append(form)

    def _read_empty(self, wire: bytes) -> Answer:
        """Reads an answer without records, and caches it for equal answers of other peers."""
        message = Message(wire)
        answer = read_answer(message, self._apex)
        if len(message.authority) == 1 and message.authority[0].rtype == SOA:
            at = message.authority[0].end - _SERIAL_AND_TIMERS
            if at >= message.authority[0].start:
                self._denials[len(wire)] = wire[2:at], wire[at + 4 :], answer
                return answer
        # At most one for each peer: malformed answers, of which a peer may send many, are not cached.
        self._empty[wire[2:]] = answer
        return answer


def read_directly(wire: bytes, question: bytes) -> Answer | None:
    """Reads the services in an answer to `question` (name, type and class as sent); None if it needs the full parser.

    The caller has compared the question, whose name is one label and the apex. Only complete answers without errors
    are read here.
    """
    _, flags, questions, answers, authority, additional = _HEADER.unpack_from(wire)
    # No TC, and NOERROR; NXDOMAIN has no records to read.
    if (
        flags & 0x020F
        or questions != 1
        or authority
        or not answers
        or question[-4:-2] != b"\0\x21"
        or answers > MAX_FROM_PEER
        or len(question) > _LONGEST + 4
    ):
        return None
    size, at = len(wire), 12 + len(question)
    if additional and wire[-11:-8] == b"\0\0\x29" and not wire[-6] and wire[-2:] == b"\0\0":
        size, additional = size - 11, additional - 1  # the OPT record, without options
    targets: dict[int, tuple[int, int, int, int]] = {}  # key: pointer; priority, weight, port, end of the target
    texts: dict[int, list[bytes]] = {}
    addresses: dict[int, list[str]] = {}
    six: set[int] = set()
    try:
        for number in range(answers + additional):
            owner, kind, _, length = _RR.unpack_from(wire, at)
            start = at + 12
            end = start + length
            if end > size:
                return None
            if number < answers:
                if owner != _QUESTION or kind != _IN_SRV or length < 8:
                    return None
                if start >= 0x3FF0:
                    return None  # a pointer cannot hold this offset
                targets[0xC000 | start + 6] = (*_SRV.unpack_from(wire, start), end)
            elif kind == _IN_TXT and owner in targets and owner not in texts:
                texts[owner] = strings = []
                while start < end:
                    following = start + 1 + wire[start]
                    strings.append(wire[start + 1 : following])
                    start = following
                if start != end or len(strings) > _MOST_STRINGS:
                    return None
            # IPv4 addresses come first: an A record after an AAAA record needs the full parser.
            elif kind == _IN_A and owner in targets and length == 4 and owner not in six:
                addresses.setdefault(owner, []).append(inet_ntop(AF_INET, wire[start:end]))
            elif kind == _IN_AAAA and owner in targets and length == 16:
                six.add(owner)
                addresses.setdefault(owner, []).append(inet_ntop(AF_INET6, wire[start:end]))
            else:
                return None
            at = end
    except (IndexError, struct.error):
        return None
    if at != size or len(targets) != answers:
        return None
    return _told(wire, question, targets, texts, addresses)


def _told(
    wire: bytes,
    question: bytes,
    targets: dict[int, tuple[int, int, int, int]],
    texts: dict[int, list[bytes]],
    addresses: dict[int, list[str]],
) -> Answer | None:
    # A target is the instance's label and then the queried name, in any case.
    below = question[:-4].lower()
    told = []
    for pointer, (priority, weight, port, end) in targets.items():
        start = pointer & 0x3FFF
        behind = start + 1 + wire[start]
        shown = wire[behind:end]
        if shown.lower() != below or not 0 < wire[start] < 0x40 or not port:
            return None
        # The name as the peer spells it, not as in the question.
        name = readable_name(shown[1 : 1 + shown[0]])
        if name is None or pointer not in texts or pointer not in addresses:
            return None
        instance = wire[start + 1 : behind].decode("utf-8", "surrogateescape")
        found = tuple(dict.fromkeys(addresses[pointer]))
        told.append(Told(name, instance, priority, weight, port, found, read_attributes(texts[pointer])))
    # Two SRV records with the same target are one instance.
    if len(told) > 1 and len({one.instance.lower() for one in told}) < len(told):
        return None
    return Answer(tuple(told), False, False, False, ())
