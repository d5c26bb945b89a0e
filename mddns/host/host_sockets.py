"""The sockets at which a host answers: bound by its first holder, read by the present one, handed to the tenants."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from ..base.errors import Error, PortInUse
from ..base.model import join_address
from ..http.messages import Serving
from ..responder.hot_answers import Kept
from ..responder.reaction import Answering, Later, Reaction
from ..server.binding import bind_tcp, bind_udp
from ..server.listeners import TcpListener, UdpListener
from ..server.push_sessions import Sessions

_log = logging.getLogger("mddns")

_LOOK_EVERY: Final = 0.005  # seconds
_BIND: Final = {"udp": bind_udp, "tcp": bind_tcp}

Key = tuple[str, str]  # "udp" or "tcp", and the address


class HostSockets:
    """Sockets by kind and address. `answering` answers DNS, `serving` HTTP, `sessions` are for DNS Push; `hot` gives
    the answers that are ready (see UdpListener); `ours` tells whether we still are who reads them.
    """

    def __init__(
        self,
        answering: Answering,
        hot: Callable[[], Mapping[str, Kept]],
        serving: Serving,
        sessions: Sessions,
        ours: Callable[[], bool],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._answering = answering
        self._hot = hot
        self._sessions = sessions
        self._serving = serving
        self._ours = ours
        self._loop = loop
        self._bound: dict[Key, socket.socket] = {}
        self.taken: dict[Key, str] = {}  # what another program has, and what there is to say of it
        self._reading: dict[Key, UdpListener | TcpListener] = {}

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

    def bind_missing(self, addresses: Sequence[str], port: int, untold: Key) -> bool:
        """Binds UDP and TCP at each address, where it is not bound yet; whether any was.

        What another program has is told once, and told of again when it is ours. That `untold` is another's may be
        as it should be: whoever knows tells it.
        """
        wanted = [(kind, address) for address in addresses for kind in ("udp", "tcp")]
        missing = [key for key in wanted if key not in self._bound]
        for key in missing:
            self._try(key, port, told=key != untold)
        return any(key in self._bound for key in missing)

    def _try(self, key: Key, port: int, told: bool) -> None:
        kind, address = key
        known = key in self.taken
        try:
            self._bound[key] = _BIND[kind](address, port, named=not known)
        except PortInUse as error:
            if not known:
                self.taken[key] = f"{error}. The rest is answered, and this is tried again"
                if told:
                    _log.warning("%s", self.taken[key])
        except Error as error:
            _log.debug("%s", error)
        else:
            if known:
                del self.taken[key]
                _log.info("%s %s is free, and ours now", kind.upper(), join_address(address, port))

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
                self._reading[key] = TcpListener(
                    sock, self._by_tcp, self._loop, self._ours, self._serving, sessions=self._sessions
                )

    def _by_tcp(self, wire: bytes, source: str, stream: bool) -> Reaction | Later:
        """What came on a connection while we were stopped, and others answered, is asked again of them."""
        return self._answering(wire, source, stream) if self._ours() else None

    async def finish(self, within: float) -> None:
        """Takes no more questions, and gives the answers to those that were taken so many seconds at most."""
        for listener in self._reading.values():
            listener.pause()
        deadline = self._loop.time() + within
        while self._loop.time() < deadline and any(listener.busy for listener in self._reading.values()):
            await asyncio.sleep(_LOOK_EVERY)

    def stop(self) -> None:
        """Answers no more; the sockets stay bound."""
        if self._reading:
            self._sessions.farewell()
        for listener in self._reading.values():
            listener.close()
        self._reading.clear()

    def close(self) -> None:
        """Lets go of all."""
        self.stop()
        for sock in self._bound.values():
            sock.close()
        self._bound = {}
