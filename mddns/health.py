"""Whether a service answers over IPv6: a connect, when it is advertised and again ever more rarely.

A program that listens on 0.0.0.0 answers over IPv4 alone; offering it at IPv6 would send clients to a
closed port.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Final

from .registry import Registration

_TIMEOUT: Final = 0.5  # seconds; it is this very machine that is asked
_FIRST_PAUSE: Final = 0.25
_LONGEST_PAUSE: Final = 60.0


class SixProbe:
    """Watches registrations; `found(registration, answers)` is called after each connect."""

    def __init__(self, found: Callable[[Registration, bool], None]) -> None:
        self._found = found
        self._tasks: dict[Registration, asyncio.Task[None]] = {}

    def watch(self, registration: Registration, address: str) -> None:
        """Begins to watch a registration at our IPv6 `address`."""
        if registration not in self._tasks:
            self._tasks[registration] = asyncio.get_running_loop().create_task(self._watch(registration, address))

    def forget(self, registration: Registration) -> None:
        """Ends the watch."""
        if task := self._tasks.pop(registration, None):
            task.cancel()

    async def close(self) -> None:
        """Ends all watches."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self, registration: Registration, address: str) -> None:
        pause = _FIRST_PAUSE
        while True:
            self._found(registration, await _accepts(address, registration.offer.port))
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)


async def _accepts(address: str, port: int) -> bool:
    with contextlib.suppress(OSError):
        async with asyncio.timeout(_TIMEOUT):
            _, writer = await asyncio.open_connection(address, port)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return True
    return False


def accepts(address: str, port: int, timeout: float) -> bool:
    """Whether somebody accepts TCP connections there, for those who may block."""
    try:
        with socket.create_connection((address, port), timeout) as connection:
            # A port of the range that outgoing connections get can be connected to itself, with nobody there.
            return bool(connection.getsockname() != connection.getpeername())
    except OSError:
        return False
