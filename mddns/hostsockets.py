"""The sockets at which a host answers: bound by its first holder, read by the present one, handed to the tenants."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from .binding import bind_tcp, bind_udp
from .hot import Kept
from .listeners import Answering, TcpListener, UdpListener
from .web import Serving

_LOOK_EVERY: Final = 0.005  # seconds
_BIND: Final = {"udp": bind_udp, "tcp": bind_tcp}

Key = tuple[str, str]  # "udp" or "tcp", and the address


class HostSockets:
    """Sockets by kind and address. `answering` answers DNS, `serving` HTTP; `hot` gives the answers that are ready
    (see UdpListener); `ours` tells whether we still are who reads them.
    """

    def __init__(
        self,
        answering: Answering,
        hot: Callable[[], Mapping[str, Kept]],
        serving: Serving,
        ours: Callable[[], bool],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._answering = answering
        self._hot = hot
        self._serving = serving
        self._ours = ours
        self._loop = loop
        self._bound: dict[Key, socket.socket] = {}
        self._reading: dict[Key, UdpListener | TcpListener] = {}

    def __contains__(self, key: Key) -> bool:
        return key in self._bound

    @property
    def keys(self) -> list[Key]:
        """What is bound, in the order of :meth:`descriptors`."""
        return list(self._bound)

    def descriptors(self) -> list[int]:
        """Those that are handed over."""
        return [sock.fileno() for sock in self._bound.values()]

    def every_descriptor(self) -> list[int]:
        """Those of the connections too."""
        listeners = [each for each in self._reading.values() if isinstance(each, TcpListener)]
        return [*self.descriptors(), *(number for each in listeners for number in each.descriptors())]

    def add(self, key: Key, sock: socket.socket) -> None:
        """Takes a bound socket over."""
        self._bound[key] = sock

    def bind(self, key: Key, port: int, *, named: bool) -> None:
        """Binds one. PortInUse, which names who has it where that is wanted, or NetworkError."""
        kind, address = key
        self._bound[key] = _BIND[kind](address, port, named=named)

    def replace(self, keys: Sequence[Key], descriptors: Sequence[int]) -> None:
        """What a holder has handed over stands in for all that we had."""
        self.close()
        self._bound = {key: socket.socket(fileno=number) for key, number in zip(keys, descriptors, strict=True)}

    def read(self) -> None:
        """Answers at every socket that is not answered at yet."""
        for key, sock in self._bound.items():
            if key in self._reading:
                continue
            if key[0] == "udp":
                self._reading[key] = UdpListener(sock, self._answering, self._hot, self._loop, self._ours)
            else:
                self._reading[key] = TcpListener(sock, self._answering, self._loop, self._ours, self._serving)

    async def finish(self, within: float) -> None:
        """Takes no more questions, and gives the answers to those that were taken so many seconds at most."""
        for listener in self._reading.values():
            listener.pause()
        deadline = self._loop.time() + within
        while self._loop.time() < deadline and any(listener.busy for listener in self._reading.values()):
            await asyncio.sleep(_LOOK_EVERY)

    def stop(self) -> None:
        """Answers no more; the sockets stay bound."""
        for listener in self._reading.values():
            listener.close()
        self._reading.clear()

    def close(self) -> None:
        """Lets go of all."""
        self.stop()
        for sock in self._bound.values():
            sock.close()
        self._bound = {}
