"""Watching inside an event loop: the events as an asynchronous iterator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from types import TracebackType

from .base.errors import Error
from .base.grammar import normal_name
from .base.leader import leader
from .watching.events import Changes, Event
from .watching.watcher import BROKEN, View, Watcher, Watching


class Watch:
    """The events of services of a name with at least these labels; made by :func:`mddns.aio.watch`.

    An asynchronous iterator, and a context manager that ends it. Without an ``async with`` it ends with the loop
    over it.
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
        """Begins. NetworkError where the network cannot be read. Twice does no harm."""
        if self._closed:
            raise Error("this watch is closed")
        if self._watcher is None:
            self._watcher = await self._start()
            self._watcher.add(self, Watching(self._told, self._ended))

    async def close(self) -> None:
        """Ends it; who waits for an event is told by StopAsyncIteration. Twice does no harm."""
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
    """One watcher for all who watch through one resolver: the first begins it, the last ends it."""

    def __init__(self, make: Callable[[], Watcher]) -> None:
        self._make = make
        self._watcher: Watcher | None = None
        self._users = 0
        self._starting = asyncio.Lock()

    @property
    def view(self) -> View | None:
        """The network, where it is watched and known as a whole."""
        return self._watcher.view if self._watcher else None

    @property
    def active(self) -> bool:
        """Whether anybody watches."""
        return self._watcher is not None

    async def start(self) -> Watcher:
        """One more watches."""
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
        """One less does."""
        async with self._starting:
            self._users -= 1
            if not self._users and self._watcher:
                watcher, self._watcher = self._watcher, None
                await watcher.close()

    async def close(self) -> None:
        """Ends the watching, whoever watches."""
        watcher, self._watcher = self._watcher, None
        if watcher:
            await watcher.close()
