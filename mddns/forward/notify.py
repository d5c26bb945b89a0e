"""NOTIFY (RFC 1996) to those who follow a zone: who is to be told, when, and again until they have answered.

Decisions alone: :mod:`mddns.forward.notify_sockets` has the socket. Times are seconds of the caller's clock.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Final

from ..base.names import Name
from ..codec.instance import TTL
from ..dns.message import AA, NOERROR, OPCODE, QR, SOA
from ..dns.writer import RR, Packer
from ..files.resolv_conf import Place

NOTIFY: Final = 4 << 11  # the opcode, where it stands in a header's flags
TRIES: Final = 5
FIRST_WAIT: Final = 1.0  # seconds until one that is not answered is sent again; doubles
AT_MOST_EVERY: Final = 1.0  # seconds from one state that a target is told of to the next


class _Target:
    """Somebody who is told."""

    __slots__ = ("at", "begun", "failed", "ident", "place", "tries", "wire")

    def __init__(self, place: Place) -> None:
        self.place = place
        self.wire = b""  # what to send; empty: nothing
        self.ident = -1  # of what was sent and is not answered
        self.tries = 0
        self.at = math.inf  # when it is to be sent
        self.begun = -math.inf  # when the last state was told first
        self.failed = ""  # what was said of it last, so that it is said once


class Notifications:
    """What each of `targets` has yet to be told of the zone `apex`. `new_id` gives ids that nobody can guess."""

    def __init__(self, apex: Name, targets: Iterable[Place], new_id: Callable[[], int]) -> None:
        self._apex = apex
        self._new_id = new_id
        self._targets = {place: _Target(place) for place in targets}

    def moved(self, soa: RR, now: float) -> None:
        """The zone has another SOA record. States that follow each other quickly are told of as one, the last."""
        owner, rtype, rdata = soa
        for target in self._targets.values():
            packer = Packer(self._apex.wire, SOA)
            packer.record(owner, rtype, TTL, rdata)
            target.wire = packer.finish(0, NOTIFY | AA, (1, 0, 0))
            target.ident, target.tries = -1, 0
            target.at = max(now, target.begun + AT_MOST_EVERY)

    def due(self, now: float) -> list[tuple[Place, bytes]]:
        """What is to be sent now, and to whom."""
        messages = []
        for target in self._targets.values():
            if target.at > now or target.tries >= TRIES:
                continue
            if not target.tries:
                target.ident, target.begun = self._new_id(), now
            target.at = now + FIRST_WAIT * 2**target.tries
            target.tries += 1
            messages.append((target.place, target.ident.to_bytes(2, "big") + target.wire[2:]))
        return messages

    def given_up(self, now: float) -> list[str]:
        """A word on each who has not answered the last try; at its next change the zone is told of again."""
        said = []
        for target in self._targets.values():
            if target.at <= now and target.tries >= TRIES:
                target.at, target.ident = math.inf, -1
                said += self._failed(target, "does not answer NOTIFY; is a name server there?")
        return said

    def heard(self, wire: bytes, place: Place) -> list[str]:
        """A datagram has come from `place`: a word on it, where it says that it is no secondary of ours.

        Whatever is no answer to what was sent there last is passed over. An answer ends the telling, whatever its
        rcode (RFC 1996 3.8), and whatever stands behind its header.
        """
        target = self._targets.get(place)
        if target is None or len(wire) < 12 or target.ident != wire[0] << 8 | wire[1]:
            return []
        flags = wire[2] << 8 | wire[3]
        if flags & (QR | OPCODE) != QR | NOTIFY:
            return []
        target.at, target.ident = math.inf, -1
        rcode = flags & 0xF
        if rcode != NOERROR:
            return self._failed(
                target, f"refused NOTIFY (rcode {rcode}); is {self._apex} a secondary zone of ours there?"
            )
        target.failed = ""
        return []

    @property
    def next_at(self) -> float:
        """When :meth:`due` or :meth:`given_up` has something, if nothing happens before; infinity for never."""
        return min((target.at for target in self._targets.values()), default=math.inf)

    def _failed(self, target: _Target, what: str) -> list[str]:
        if target.failed == what:
            return []
        target.failed = what
        return [f"{target.place} {what}"]
