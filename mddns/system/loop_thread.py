"""An event loop in a thread of its own, for programs that have none."""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from .asyncio_without_tls import asyncio

T = TypeVar("T")


class Background:
    """Runs from the start until :meth:`stop`. The thread ends with the program, whoever forgets it."""

    def __init__(self, name: str) -> None:
        """`name` is the thread's."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    @property
    def stopped(self) -> bool:
        """Whether it has ended."""
        return self._loop.is_closed()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs `work` there, and gives what comes of it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def soon(self, work: Callable[..., object], *args: object) -> None:
        """Has `work` called there; whoever calls this does not wait."""
        self._loop.call_soon_threadsafe(work, *args)

    def stop(self) -> None:
        """Ends loop and thread; returns when they are gone."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()
