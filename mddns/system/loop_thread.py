"""An event loop in a thread of its own, for programs that have none."""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from .asyncio_without_tls import asyncio

T = TypeVar("T")


class Background:
    """Runs an event loop in a thread until :meth:`stop`, or until the program ends."""

    def __init__(self, name: str) -> None:
        """Starts the thread, which gets the name `name`."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    @property
    def stopped(self) -> bool:
        """Whether the loop has ended."""
        return self._loop.is_closed()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs `work` in the loop, waits for it, and returns its result or raises its error."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def soon(self, work: Callable[..., object], *args: object) -> None:
        """Calls `work` in the loop, without waiting for it."""
        self._loop.call_soon_threadsafe(work, *args)

    def stop(self) -> None:
        """Ends loop and thread; returns when they have ended."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()
