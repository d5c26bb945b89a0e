"""Watching for blocking programs: a watcher in one background thread, for as long as somebody watches."""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType

from .system.loop_thread import Background  # first: it loads asyncio without TLS

# isort: split
from .base.errors import Error
from .base.grammar import normal_name
from .base.leader import leader
from .system.after_fork import let_go
from .watching.events import Changes, Event
from .watching.watcher import BROKEN, View, Watcher, Watching

_OF_THE_PARENT = "this watch belongs to the parent process: begin one in the child, after the fork"


class Watch:
    """The events of services of a name with at least these labels; made by :func:`mddns.watch`.

    An iterator, and a context manager that ends it. Without a ``with`` block it ends with the loop over it.
    """

    def __init__(self, name: str | None, labels: Mapping[str, str] | None, shared: Shared) -> None:
        self._changes = Changes(None if name is None else normal_name(name), labels, leader)
        self._shared = shared
        self._news = threading.Condition()
        self._thread: WatcherThread | None = None
        self._closed = False
        self._failure: BaseException | None = None

    @property
    def closed(self) -> bool:
        """Whether it has ended: there are no more events."""
        return self._closed

    def open(self) -> None:
        """Begins. NetworkError where the network cannot be read. Twice does no harm."""
        if self._closed:
            raise Error("this watch is closed")
        if self._thread is None:
            self._thread = self._shared.start()
            self._thread.add(self, Watching(self._told, self._ended))

    def close(self) -> None:
        """Ends it; who waits in another thread is told by StopIteration. Twice does no harm."""
        thread, self._thread = self._thread, None
        self._closed = True
        if thread and not thread.abandoned:
            self._ended(None)
            thread.remove(self)
            self._shared.stop(thread)

    def next(self, timeout: float | None = None) -> Event | None:
        """The next event, None where there is none within `timeout` seconds, or the watch is closed."""
        if not self._closed:
            self.open()
        until = None if timeout is None else time.monotonic() + timeout
        if self._thread and self._thread.abandoned:
            raise Error(_OF_THE_PARENT)
        with self._news:
            while not self._closed:
                if event := self._changes.take():
                    return event
                left = None if until is None else until - time.monotonic()
                if left is not None and left <= 0:
                    break
                self._news.wait(left)
            if self._failure:
                raise Error(BROKEN) from self._failure
        return None

    def __enter__(self) -> Watch:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __next__(self) -> Event:
        event = self.next()
        if event is None:
            raise StopIteration
        return event

    def __iter__(self) -> Iterator[Event]:
        return self if self._thread else self._until_left()

    def _until_left(self) -> Iterator[Event]:
        try:
            while event := self.next():
                yield event
        finally:
            self.close()

    def _ended(self, error: BaseException | None) -> None:
        with self._news:
            self._closed, self._failure = True, error
            self._news.notify_all()

    def _told(self, view: View, current: bool) -> None:
        with self._news:
            self._changes.see(view.services)
            if current:
                self._changes.current()
            if len(self._changes):
                self._news.notify_all()


class WatcherThread:
    """A watcher with a thread and an event loop of its own."""

    def __init__(self, make: Callable[[], Watcher]) -> None:
        self.abandoned = False  # in a forked child
        self._background = Background("mddns-watch")
        self.watcher: Watcher | None = None
        try:
            self.watcher = self._background.call(self._start(make))
        except BaseException:
            self.close()
            raise
        atexit.register(self.close)
        _threads.add(self)

    def add(self, key: object, watching: Watching) -> None:
        """Somebody looks on."""
        if self.watcher:
            self._background.soon(self.watcher.add, key, watching)

    def remove(self, key: object) -> None:
        """And does so no more."""
        if self.watcher:
            self._background.soon(self.watcher.remove, key)

    def close(self) -> None:
        """Returns when thread and sockets are gone. Twice does no harm."""
        if self.abandoned or self._background.stopped:
            return
        watcher, self.watcher = self.watcher, None
        if watcher:
            self._background.call(watcher.close())
        self._background.stop()
        atexit.unregister(self.close)

    def abandon(self) -> None:
        """In a forked child: replaces every connection by nothing, so that they end when the parent does."""
        watcher, self.watcher = self.watcher, None
        self.abandoned = True
        if watcher:
            let_go(watcher.descriptors())

    @staticmethod
    async def _start(make: Callable[[], Watcher]) -> Watcher:
        watcher = make()
        try:
            await watcher.start()
        except BaseException:
            await watcher.close()
            raise
        return watcher


class Shared:
    """One watcher for all who watch through one resolver: the first begins it, the last ends it."""

    def __init__(self, make: Callable[[], Watcher]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._thread: WatcherThread | None = None
        self._users = 0

    @property
    def view(self) -> View | None:
        """The network, where it is watched and known as a whole."""
        thread = self._thread
        watcher = thread.watcher if thread else None
        return watcher.view if watcher else None

    @property
    def active(self) -> bool:
        """Whether anybody watches."""
        return self._thread is not None and self._thread.watcher is not None

    def start(self) -> WatcherThread:
        """One more watches."""
        with self._lock:
            if self._thread is None or self._thread.abandoned:
                self._thread, self._users = WatcherThread(self._make), 0
            self._users += 1
            return self._thread

    def stop(self, thread: WatcherThread) -> None:
        """One less does."""
        with self._lock:
            if thread is not self._thread:
                return
            self._users -= 1
            if not self._users:
                self._thread = None
                thread.close()

    def close(self) -> None:
        """Ends the watching, whoever watches."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread:
            thread.close()


_threads: weakref.WeakSet[WatcherThread] = weakref.WeakSet()


def _let_go_of_all() -> None:
    for thread in list(_threads):
        thread.abandon()


os.register_at_fork(after_in_child=_let_go_of_all)
