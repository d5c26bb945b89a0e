"""Takes connections at a listening socket, also when the process has no file descriptor left.

A listening socket stays readable while a connection waits. A process that cannot accept and retries at once keeps a
processor busy and blocks its event loop.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from typing import Final

_log = logging.getLogger("mddns")

_BURST: Final = 8  # connections accepted before the loop's other work runs
PAUSE: Final = 1.0  # seconds without accepting, when no descriptor is left
_TOLD_EVERY: Final = 60.0
_EXHAUSTED: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


class Acceptor:
    """Calls `taken(connection)` for each connection at `listening`, which stays its owner's. Ends with :meth:`close`.

    `ours()` is called before each accept: whether this process may still accept there. `shown` is the text that the
    log names as waiting when no descriptor is left.
    """

    def __init__(
        self,
        listening: socket.socket,
        loop: asyncio.AbstractEventLoop,
        ours: Callable[[], bool],
        taken: Callable[[socket.socket], None],
        shown: str,
    ) -> None:
        self.listening = listening
        self._loop = loop
        self._ours = ours
        self._taken = taken
        self._shown = shown
        self._pause: asyncio.TimerHandle | None = None
        self._tell_again = 0.0
        loop.add_reader(listening.fileno(), self._read)

    def close(self) -> None:
        """Stops accepting."""
        if self._pause:
            self._pause.cancel()
        self._loop.remove_reader(self.listening.fileno())

    def _read(self) -> None:
        if not self._ours():
            return
        for _ in range(_BURST):
            try:
                connection, _ = self.listening.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._wait(error)
                return  # otherwise the client gave up before its connection was accepted
            connection.setblocking(False)
            self._taken(connection)

    def _wait(self, error: OSError) -> None:
        self._loop.remove_reader(self.listening.fileno())
        self._pause = self._loop.call_later(PAUSE, self._go_on)
        now = self._loop.time()
        if now >= self._tell_again:
            self._tell_again = now + _TOLD_EVERY
            _log.warning("%s: %s; raise the limit of open files (ulimit -n)", self._shown, error.strerror)

    def _go_on(self) -> None:
        self._pause = None
        self._loop.add_reader(self.listening.fileno(), self._read)
