"""Keeping up with a network: it is read when its door-bell rings, and every few seconds where it has none."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from ..base.errors import Error, NetworkError
from ..base.model import Snapshot
from ..system import clock
from . import Network

_log = logging.getLogger("mddns")

STATUS_TIMEOUT: Final = 2.0
STATUS_EVERY: Final = 5.0  # seconds between looks at the network
STATUS_EVERY_WITH_BELL: Final = 30.0
STATUS_EVERY_WHILE_LOST: Final = 1.0
DEBOUNCE: Final = 0.25  # seconds in which several rings are one
SHARE: Final = 20  # times as long as a look took, the bell is not heard after it
TICK: Final = 1.0
BELL_AGAIN: Final = 0.5  # seconds until a bell that broke is listened to again; doubles, to
BELL_AGAIN_AT_MOST: Final = 30.0
_MOST_REASONS: Final = 4  # told of one loss


class Follower:
    """Reads `network` again and again, until :meth:`run` is cancelled.

    ``seen(snapshot, lost_for)`` is awaited for each snapshot; `lost_for` is the seconds that the network could not be
    read before it. ``tick()`` is called every second, and is true where we have been away and should look at once.
    """

    def __init__(
        self, network: Network, seen: Callable[[Snapshot, float], Awaitable[None]], tick: Callable[[], bool]
    ) -> None:
        self._network = network
        self._seen = seen
        self._tick = tick
        self._rung = asyncio.Event()
        self._back = asyncio.Event()
        self._hears = False  # whether the door-bell works
        self._lost_since: float | None = None
        self._reasons: list[str] = []
        self._rest = DEBOUNCE

    def look_now(self) -> None:
        """Somebody has a reason to believe that the network is another."""
        self._rung.set()

    async def run(self) -> None:
        """Follows the network without end."""
        changes = getattr(self._network, "changes", None)
        listening = asyncio.create_task(self._listen(changes)) if changes else None
        try:
            while True:
                await self._wait()
                await self.look()
        finally:
            if listening:
                listening.cancel()
                await asyncio.gather(listening, return_exceptions=True)

    def _pause(self) -> float:
        if self._lost_since is not None:
            return STATUS_EVERY_WHILE_LOST
        return STATUS_EVERY_WITH_BELL if self._hears else STATUS_EVERY

    async def _wait(self) -> None:
        """Returns when the network is to be read again."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while not self._rung.is_set() and (left := begun + self._pause() - loop.time()) > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(TICK, left)):
                    await self._rung.wait()
            if self._tick():
                break
        if self._rung.is_set():
            await asyncio.sleep(self._rest)
        self._rung.clear()

    async def look(self) -> None:
        """Reads the network once, and says what came of it."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        lost_for = 0.0 if self._lost_since is None else clock.now() - self._lost_since
        try:
            await self._seen(await self._network.aread(STATUS_TIMEOUT), lost_for)
        except (Error, OSError) as error:
            self._lost(str(error))
        else:
            if self._lost_since is not None:
                # As loud as the loss: who was told of that wants to know.
                _log.warning("the network is back after %.0f s", lost_for, extra={"event": "network-back"})
                self._lost_since = None
                self._reasons.clear()
                self._back.set()
        # A large network whose bell never rests takes no more than its share of our time.
        self._rest = min(max(DEBOUNCE, SHARE * (loop.time() - begun)), STATUS_EVERY)

    def _lost(self, reason: str) -> None:
        if self._lost_since is None:
            self._lost_since = clock.now()
        if reason not in self._reasons and len(self._reasons) < _MOST_REASONS:
            still = "still " if self._reasons else ""
            self._reasons.append(reason)
            _log.warning("the network is %slost: %s", still, reason, extra={"event": "network-lost"})

    async def _listen(self, changes: Callable[[], AsyncIterator[None]]) -> None:
        """Listens to the door-bell, and begins again where it breaks; looking every few seconds goes on meanwhile."""
        loop = asyncio.get_running_loop()
        pause = BELL_AGAIN
        while True:
            begun = loop.time()
            try:
                async for _ in changes():
                    self._hears = True
                    self._rung.set()
            except (NetworkError, OSError) as error:
                _log.debug("no news of the network, so it is read every %g s: %s", STATUS_EVERY, error)
            if self._hears:
                self._hears = False
                self._rung.set()  # the daemon may have ended
            pause = BELL_AGAIN if loop.time() - begun > BELL_AGAIN_AT_MOST else pause
            self._back.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._back.wait()
            pause = min(2 * pause, BELL_AGAIN_AT_MOST)
