"""Keeps a forwarder's directory equal to the network, by a :class:`~mddns.watching.watcher.Watcher`.

The forwarder may start before the network is up. Until the watcher has a complete view, the forwarder queries the peers
as any node does.
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
    """Keeps the directory of `domain` up to date. Needs a running event loop.

    It calls ``seen(snapshot)`` for each new snapshot of the network, and ``changed()`` when the services may have
    changed. Call :meth:`start` once, and :meth:`close` at the end.
    """

    def __init__(
        self,
        settings: Settings,
        domain: Domain,
        seen: Callable[[Snapshot], None],
        changed: Callable[[], None],
    ) -> None:
        self.looked = asyncio.Event()  # set after the first attempt to read the network, also if it failed
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
        """Starts to follow the network, even if it is not up yet."""
        self._tasks = [asyncio.create_task(self._begin()), asyncio.create_task(self._take_turns())]

    async def close(self) -> None:
        """Stops the tasks and the watcher."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._watcher:
            await self._watcher.close()

    def look_now(self) -> None:
        """Reads the list of nodes again now."""
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
            # From now on the watcher reads the list of nodes.
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    async def _watch(self) -> None:
        watcher = Watcher(self._settings, other=self._directory)
        try:
            await watcher.start()
        except (Error, OSError) as error:
            await watcher.close()
            _log.debug("the network cannot be watched yet: %s", error)  # the follower tries again and logs why
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
