"""NOTIFY (RFC 1996) to the secondaries of a zone: decides which target gets a message, when, and when to retry.

It does no I/O: :mod:`mddns.forward.notify_sockets` does. Times are seconds of the caller's clock.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Final

from ..base.names import Name
from ..codec.instance_records import TTL
from ..dns.message import AA, NOERROR, OPCODE, QR, SOA
from ..dns.writer import RR, Packer
from ..files.resolv_conf import Place

NOTIFY: Final = 4 << 11  # the opcode, where it stands in a header's flags
TRIES: Final = 5
FIRST_WAIT: Final = 1.0  # seconds until the first retry; doubles
AT_MOST_EVERY: Final = 1.0  # minimum seconds between two states sent to a target


class _Target:
    """A secondary that gets NOTIFY messages."""

    __slots__ = ("at", "begun", "failed", "ident", "place", "tries", "wire")

    def __init__(self, place: Place) -> None:
        self.place = place
        self.wire = b""  # what to send; empty: nothing
        self.ident = -1  # id of the message without an answer
        self.tries = 0
        self.at = math.inf  # when to send it
        self.begun = -math.inf  # when the last state was sent first
        self.failed = ""  # its last error, so that it is logged once


class Notifications:
    """The pending NOTIFY messages of the zone `apex` for each of `targets`. `new_id` returns random ids."""

    def __init__(self, apex: Name, targets: Iterable[Place], new_id: Callable[[], int]) -> None:
        self._apex = apex
        self._new_id = new_id
        self._targets = {place: _Target(place) for place in targets}

    def moved(self, soa: RR, now: float) -> None:
        """Takes a new SOA record of the zone. Of states in quick succession, only the last is sent."""
        owner, rtype, rdata = soa
        for target in self._targets.values():
            packer = Packer(self._apex.wire, SOA)
            packer.record(owner, rtype, TTL, rdata)
            target.wire = packer.finish(0, NOTIFY | AA, (1, 0, 0))
            target.ident, target.tries = -1, 0
            target.at = max(now, target.begun + AT_MOST_EVERY)

    def due(self, now: float) -> list[tuple[Place, bytes]]:
        """Returns the messages to send now, each with its target."""
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
        """Returns a log text for each target that did not answer the last try. The next change starts anew."""
        said = []
        for target in self._targets.values():
            if target.at <= now and target.tries >= TRIES:
                target.at, target.ident = math.inf, -1
                said += self._failed(target, "does not answer NOTIFY; is a name server there?")
        return said

    def heard(self, wire: bytes, place: Place) -> list[str]:
        """Takes a datagram from `place`. Returns log texts: one if the target refuses the NOTIFY.

        Ignores a datagram that does not answer the last message. An answer ends the retries, whatever its rcode
        (RFC 1996 3.8) and whatever follows its header.
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
        """The next time to call :meth:`due` and :meth:`given_up`; infinity for never."""
        return min((target.at for target in self._targets.values()), default=math.inf)

    def _failed(self, target: _Target, what: str) -> list[str]:
        if target.failed == what:
            return []
        target.failed = what
        return [f"{target.place} {what}"]
