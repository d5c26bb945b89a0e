"""The forwarder as primary server of the network's zone. While it has secondaries, it keeps the zone fresh.

A query for the zone's state (SOA, IXFR, AXFR of the apex) waits for the peers if the directory is stale. Other queries
do not pass through this module. Secondaries get a NOTIFY for each change.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Iterable, Sequence
from typing import Final, cast

from ..dns.message import AXFR, IXFR, OPCODE, SOA
from ..files.resolv_conf import Place
from ..files.serial_file import Serials
from ..host.domain import Domain
from ..responder.reaction import Later, Messages, Reaction
from ..responder.responder import Client
from ..system import clock
from ..zone.merged_zone import MergedZone
from .notify_sockets import Notifier

_log = logging.getLogger("mddns")

FOLLOWED_FOR: Final = 3600.0  # seconds after a transfer: the SOA's expiry; a silent secondary then counts as gone
LOOK_EVERY: Final = 0.5  # seconds between looks at the directory while there are secondaries
PAUSE: Final = 0.02  # minimum seconds between two looks
SHARE: Final = 10  # the pause is at least this many times the duration of the look
_MOST_WAITING: Final = 256


class Primary:
    """Serves `zone` with the states of `domain`'s directory, and sends NOTIFY to `targets` for each new state.

    Needs a running event loop, from :meth:`start` until :meth:`close`.
    """

    def __init__(
        self,
        domain: Domain,
        zone: MergedZone,
        targets: Sequence[Place],
        listening: Iterable[Place],
        serials: Serials | None = None,
    ) -> None:
        """`serials` stores the serials that were given out."""
        self._serials = serials
        self._domain = domain
        self._zone = zone
        self._notifier = Notifier(zone.name, targets, listening) if targets else None
        self._followed_until = math.inf if targets else -math.inf
        self._followed = asyncio.Event()
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._waiting = 0
        key = zone.name.key
        self._state = {key + qtype.to_bytes(2, "big"): qtype for qtype in (SOA, AXFR, IXFR)}
        self._end = 14 + len(key)

    def start(self) -> None:
        """Starts to follow the network, while there are secondaries."""
        self._task = asyncio.create_task(self._follow())

    async def close(self) -> None:
        """Ends the background work."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._notifier:
            self._notifier.close()

    def changed(self) -> None:
        """Tells that the services of peers may have changed."""
        self._news.set()

    def is_asked(self, wire: bytes) -> bool:
        """Whether a query is for the zone's state: SOA, IXFR or AXFR of the apex."""
        # The name in lower case; of the type's octets only 0x41 to 0x5A would change, which none of these have.
        return wire[12 : self._end].lower() in self._state and not wire[2] & OPCODE >> 8

    def answer(self, wire: bytes, client: Client, now: float) -> Reaction | Later:
        """Returns the response to a query for the zone's state."""
        transfer = self._state[wire[12 : self._end].lower()] != SOA
        if transfer:
            self._followed_until = max(self._followed_until, now + FOLLOWED_FOR)
            self._followed.set()
        directory = self._domain.directory
        if not directory.ready or not directory.stale(now):
            return self._respond(wire, client, now)
        if self._waiting >= _MOST_WAITING:
            return None  # the client retries
        if transfer and client.tcp:
            return Later(self._respond_later(wire, client))
        return self._respond_in_one(wire, client)

    async def _respond_later(self, wire: bytes, client: Client) -> bytes | Messages:
        self._waiting += 1
        try:
            await self._domain.fresh()
        finally:
            self._waiting -= 1
        return self._respond(wire, client, clock.now())

    async def _respond_in_one(self, wire: bytes, client: Client) -> bytes:
        answer = await self._respond_later(wire, client)
        return answer if isinstance(answer, bytes) else answer.first

    def _respond(self, wire: bytes, client: Client, now: float) -> bytes | Messages:
        self._look(now)
        # The client may query, and this response needs no other host.
        return cast("bytes | Messages", self._domain.responder.respond(wire, client, now))

    def _look(self, now: float) -> None:
        """Takes the state of the directory into the zone, and sends NOTIFY if it is new."""
        directory, zone = self._domain.directory, self._zone
        if not directory.ready:
            return
        view = directory.merged(now)
        # The first state must be complete: a secondary would take missing services for withdrawn ones.
        if not zone.known and (view.silent or directory.stale(now)):
            return
        if zone.take(view.zone, clock.unix_ms()):
            _log.debug("serial %d", zone.serial)
            if self._serials:
                self._serials.given_out(zone.serial)
            if self._notifier:
                self._notifier.moved(zone.apex.soa_record)

    async def _follow(self) -> None:
        while True:
            if clock.now() > self._followed_until:
                self._followed.clear()
                await self._followed.wait()
            if asking := self._domain.keep_fresh():
                await asyncio.wait([asking])
            self._news.clear()
            begun = clock.spent()
            self._look(clock.now())
            # The pause leaves time to answer other queries when changes never stop.
            await asyncio.sleep(max(PAUSE, SHARE * (clock.spent() - begun)))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY):
                    await self._news.wait()
