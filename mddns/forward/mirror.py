"""A forwarder's mirror of the network: what a :class:`~mddns.watching.watcher.Watcher` sees is what its directory has.

The network may come later than we do; until it was seen whole, peers are asked as by any node.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from ..base.errors import Error
from ..base.model import Snapshot
from ..host.domain import Domain
from ..networks.follower import Follower
from ..networks.settings import Settings
from ..system import clock
from ..watching.watcher import View, Watcher, Watching

_log = logging.getLogger("mddns")

TURN: Final = 1.0


class Mirror:
    """Keeps the directory of `domain` as the network is. Lives in a running event loop.

    ``seen(snapshot)`` is called with each state of who is on the network, ``changed()`` when they may offer something
    else. :meth:`start` it once, and :meth:`close` it.
    """

    def __init__(
        self,
        settings: Settings,
        domain: Domain,
        seen: Callable[[Snapshot], None],
        changed: Callable[[], None],
    ) -> None:
        self.looked = asyncio.Event()  # whether the network was read, or could not be
        self._settings = settings
        self._domain = domain
        self._directory = domain.directory
        self._seen = seen
        self._changed = changed
        self._snapshot: Snapshot | None = None
        self._there = asyncio.Event()
        self._follower = Follower(settings.network, self._read, lambda: False)
        self._watcher: Watcher | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Follows the network from now on, whether it is there or not."""
        self._tasks = [asyncio.create_task(self._begin()), asyncio.create_task(self._take_turns())]

    async def close(self) -> None:
        """Ends all of it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._watcher:
            await self._watcher.close()

    def look_now(self) -> None:
        """Reads anew who is on the network."""
        (self._watcher or self._follower).look_now()

    async def _begin(self) -> None:
        await self._follower.look()
        self.looked.set()
        following = asyncio.create_task(self._follower.run())
        try:
            while self._watcher is None:
                await self._there.wait()
                self._there.clear()
                await self._watch()
        finally:
            # From now on it is the watcher that reads who is on the network.
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    async def _watch(self) -> None:
        watcher = Watcher(self._settings, other=self._directory)
        try:
            await watcher.start()
        except (Error, OSError) as error:
            await watcher.close()
            _log.debug("the network cannot be watched yet: %s", error)  # and is read again, which tells of it
        except BaseException:
            await watcher.close()
            raise
        else:
            self._watcher = watcher
            watcher.add(self, Watching(self._told, lambda error: self._directory.leave()))

    async def _read(self, snapshot: Snapshot, _lost_for: float) -> None:
        self._take(snapshot)
        self._there.set()

    def _take(self, snapshot: Snapshot) -> None:
        if snapshot != self._snapshot:
            self._snapshot = snapshot
            self._seen(snapshot)

    def _told(self, view: View, current: bool) -> None:
        if view.snapshot and view.snapshot is not self._snapshot:
            self._take(view.snapshot)
        if current:
            self._directory.follow(lambda: view.services, view.silent, view.asked, clock.now())
        self._changed()

    async def _take_turns(self) -> None:
        while True:
            now = clock.now()
            self._domain.tick(now)
            if self._watcher:
                self._directory.alive(now)
            await asyncio.sleep(TURN)
