"""Watches for programs with an event loop: the events as an asynchronous iterator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from types import TracebackType

from .base.errors import Error
from .base.leader import leader
from .base.validation import normal_name
from .watching.events import Changes, Event
from .watching.watcher import BROKEN, View, Watcher, Watching


class Watch:
    """The events of services of a name that have at least these labels; created by :func:`mddns.aio.watch`.

    It is an asynchronous iterator of :class:`Event`, and an asynchronous context manager. It closes at the end of its
    ``async with`` block, or without one at the end of the ``async for`` loop over it.
    """

    def __init__(
        self,
        name: str | None,
        labels: Mapping[str, str] | None,
        start: Callable[[], Awaitable[Watcher]],
        stop: Callable[[], Awaitable[None]],
    ) -> None:
        self._changes = Changes(None if name is None else normal_name(name), labels, leader)
        self._start = start
        self._stop = stop
        self._news = asyncio.Event()
        self._watcher: Watcher | None = None
        self._closed = False
        self._failure: BaseException | None = None

    async def open(self) -> None:
        """Begins to watch. NetworkError if the network cannot be read, Error if it is closed. Twice is harmless."""
        if self._closed:
            raise Error("this watch is closed")
        if self._watcher is None:
            self._watcher = await self._start()
            self._watcher.add(self, Watching(self._told, self._ended))

    async def close(self) -> None:
        """Ends the watch. A task that waits for an event gets StopAsyncIteration. Twice is harmless."""
        self._ended(None)
        watcher, self._watcher = self._watcher, None
        if watcher:
            watcher.remove(self)
            await self._stop()

    async def __aenter__(self) -> Watch:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def __anext__(self) -> Event:
        if not self._closed:
            await self.open()
        while not self._closed:
            self._news.clear()
            if event := self._changes.take():
                return event
            await self._news.wait()
        if self._failure:
            raise Error(BROKEN) from self._failure
        raise StopAsyncIteration

    def __aiter__(self) -> AsyncIterator[Event]:
        return self if self._watcher else self._until_left()

    async def _until_left(self) -> AsyncIterator[Event]:
        try:
            while True:
                try:
                    event = await self.__anext__()
                except StopAsyncIteration:
                    return
                yield event
        finally:
            await self.close()

    def _ended(self, error: BaseException | None) -> None:
        self._closed, self._failure = True, error
        self._news.set()

    def _told(self, view: View, current: bool) -> None:
        self._changes.see(view.services)
        if current:
            self._changes.current()
        if len(self._changes):
            self._news.set()


class Shared:
    """The one watcher that all watches of a resolver share: the first watch starts it, the last one ends it."""

    def __init__(self, make: Callable[[], Watcher]) -> None:
        self._make = make
        self._watcher: Watcher | None = None
        self._users = 0
        self._starting = asyncio.Lock()

    @property
    def view(self) -> View | None:
        """The whole network as the watcher knows it; None if there is no watcher, or if it is not up to date."""
        return self._watcher.view if self._watcher else None

    @property
    def active(self) -> bool:
        """Whether a watch is open."""
        return self._watcher is not None

    async def start(self) -> Watcher:
        """Counts one more watch; returns the watcher, started if need be. NetworkError as :meth:`Watch.open`."""
        async with self._starting:
            if self._watcher is None:
                watcher = self._make()
                try:
                    await watcher.start()
                except BaseException:
                    await watcher.close()
                    raise
                self._watcher = watcher
            self._users += 1
            return self._watcher

    async def stop(self) -> None:
        """Counts one watch less; after the last one, ends the watcher."""
        async with self._starting:
            self._users -= 1
            if not self._users and self._watcher:
                watcher, self._watcher = self._watcher, None
                await watcher.close()

    async def close(self) -> None:
        """Ends the watcher, and with it all watches."""
        watcher, self._watcher = self._watcher, None
        if watcher:
            await watcher.close()
