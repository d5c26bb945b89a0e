"""Follows a network: reads it when it reports a change, and every few seconds if it does not report changes."""

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
STATUS_EVERY: Final = 5.0  # seconds between reads of the network
STATUS_EVERY_WITH_BELL: Final = 30.0
STATUS_EVERY_WHILE_LOST: Final = 1.0
DEBOUNCE: Final = 0.25  # seconds in which several reported changes cause one read
SHARE: Final = 20  # after a read, changes wait for this many times its duration
TICK: Final = 1.0
BELL_AGAIN: Final = 0.5  # seconds until we subscribe to changes again after an error; doubles, up to
BELL_AGAIN_AT_MOST: Final = 30.0
_MOST_REASONS: Final = 4  # logged for one loss of the network


class Follower:
    """Reads `network` again and again, until :meth:`run` is cancelled.

    ``seen(snapshot, lost_for)`` is awaited for each snapshot; `lost_for` is how long (seconds) the network could not be
    read before it. ``tick()`` is called every second; it returns True if our process was suspended and should read now.
    """

    def __init__(
        self, network: Network, seen: Callable[[Snapshot, float], Awaitable[None]], tick: Callable[[], bool]
    ) -> None:
        self._network = network
        self._seen = seen
        self._tick = tick
        self._rung = asyncio.Event()
        self._back = asyncio.Event()
        self._hears = False  # whether the network reports changes at present
        self._lost_since: float | None = None
        self._reasons: list[str] = []
        self._rest = DEBOUNCE

    def look_now(self) -> None:
        """Reads the network soon: the caller has a reason to believe that it has changed."""
        self._rung.set()

    async def run(self) -> None:
        """Follows the network until cancelled."""
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
        """Waits until the network is to be read again."""
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
        """Reads the network once, and passes on the snapshot or logs the loss."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        lost_for = 0.0 if self._lost_since is None else clock.now() - self._lost_since
        try:
            await self._seen(await self._network.aread(STATUS_TIMEOUT), lost_for)
        except (Error, OSError) as error:
            self._lost(str(error))
        else:
            if self._lost_since is not None:
                # The same level as the loss, so that a reader of that warning sees this one, too.
                _log.warning("the network is back after %.0f s", lost_for, extra={"event": "network-back"})
                self._lost_since = None
                self._reasons.clear()
                self._back.set()
        # A large network that reports changes all the time takes only a limited share of our time.
        self._rest = min(max(DEBOUNCE, SHARE * (loop.time() - begun)), STATUS_EVERY)

    def _lost(self, reason: str) -> None:
        if self._lost_since is None:
            self._lost_since = clock.now()
        if reason not in self._reasons and len(self._reasons) < _MOST_REASONS:
            still = "still " if self._reasons else ""
            self._reasons.append(reason)
            _log.warning("the network is %slost: %s", still, reason, extra={"event": "network-lost"})

    async def _listen(self, changes: Callable[[], AsyncIterator[None]]) -> None:
        """Subscribes to changes, again after each error. Meanwhile the network is read every few seconds."""
        loop = asyncio.get_running_loop()
        pause = BELL_AGAIN
        while True:
            begun = loop.time()
            try:
                async for _ in changes():
                    self._hears = True
                    self._rung.set()
            except (NetworkError, OSError) as error:
                _log.debug(
                    "no notifications of network changes, so the network is read every %g s: %s", STATUS_EVERY, error
                )
            if self._hears:
                self._hears = False
                self._rung.set()  # the daemon may have ended
            pause = BELL_AGAIN if loop.time() - begun > BELL_AGAIN_AT_MOST else pause
            self._back.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._back.wait()
            pause = min(2 * pause, BELL_AGAIN_AT_MOST)
