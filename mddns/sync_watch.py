"""Watches for blocking programs: one watcher in a background thread, while any watch is open."""

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
from .base.leader import leader
from .base.validation import normal_name
from .system.after_fork import let_go
from .watching.events import Changes, Event
from .watching.watcher import BROKEN, View, Watcher, Watching

_OF_THE_PARENT = "this watch belongs to the parent process: begin one in the child, after the fork"


class Watch:
    """The events of services of a name that have at least these labels; created by :func:`mddns.watch`.

    It is an iterator of :class:`Event`, and a context manager. It closes at the end of its ``with`` block, or without
    one at the end of the ``for`` loop over it.
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
        """Whether the watch has ended, so that no more events come."""
        return self._closed

    def open(self) -> None:
        """Begins to watch. NetworkError if the network cannot be read, Error if it is closed. Twice is harmless."""
        if self._closed:
            raise Error("this watch is closed")
        if self._thread is None:
            self._thread = self._shared.start()
            self._thread.add(self, Watching(self._told, self._ended))

    def close(self) -> None:
        """Ends the watch. A thread that waits for an event gets StopIteration, from `next` None. Twice is harmless."""
        thread, self._thread = self._thread, None
        self._closed = True
        if thread and not thread.abandoned:
            self._ended(None)
            thread.remove(self)
            self._shared.stop(thread)

    def next(self, timeout: float | None = None) -> Event | None:
        """The next event; None if none comes within `timeout` seconds, or if the watch is closed.

        Without a `timeout` it waits for as long as the watch is open. Raises NetworkError as :meth:`open`, and Error if
        the watcher has failed or the watch belongs to the parent of a fork.
        """
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
    """A watcher that runs in its own thread with its own event loop."""

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
        """Adds a watch; `key` identifies it."""
        if self.watcher:
            self._background.soon(self.watcher.add, key, watching)

    def remove(self, key: object) -> None:
        """Removes the watch that was added with `key`."""
        if self.watcher:
            self._background.soon(self.watcher.remove, key)

    def close(self) -> None:
        """Ends the watcher. Returns when thread and sockets are closed. Twice is harmless."""
        if self.abandoned or self._background.stopped:
            return
        watcher, self.watcher = self.watcher, None
        if watcher:
            self._background.call(watcher.close())
        self._background.stop()
        atexit.unregister(self.close)

    def abandon(self) -> None:
        """In a forked child: replaces all descriptors by ones of /dev/null, so that connections end with the parent."""
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
    """The one watcher that all watches of a resolver share: the first watch starts it, the last one ends it."""

    def __init__(self, make: Callable[[], Watcher]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._thread: WatcherThread | None = None
        self._users = 0

    @property
    def view(self) -> View | None:
        """The whole network as the watcher knows it; None if there is no watcher, or if it is not up to date."""
        thread = self._thread
        watcher = thread.watcher if thread else None
        return watcher.view if watcher else None

    @property
    def active(self) -> bool:
        """Whether a watch is open."""
        return self._thread is not None and self._thread.watcher is not None

    def start(self) -> WatcherThread:
        """Counts one more watch; returns the watcher, started if need be. NetworkError as :meth:`Watch.open`."""
        with self._lock:
            if self._thread is None or self._thread.abandoned:
                self._thread, self._users = WatcherThread(self._make), 0
            self._users += 1
            return self._thread

    def stop(self, thread: WatcherThread) -> None:
        """Counts one watch less; after the last one, ends the watcher."""
        with self._lock:
            if thread is not self._thread:
                return
            self._users -= 1
            if not self._users:
                self._thread = None
                thread.close()

    def close(self) -> None:
        """Ends the watcher, and with it all watches."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread:
            thread.close()


_threads: weakref.WeakSet[WatcherThread] = weakref.WeakSet()


def _let_go_of_all() -> None:
    for thread in list(_threads):
        thread.abandon()


os.register_at_fork(after_in_child=_let_go_of_all)
