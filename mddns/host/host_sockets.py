"""A host's sockets: bound by its first holder, read by the present holder, passed to the tenants."""

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

_LOOK_EVERY: Final = 0.005  # seconds between checks whether the last answers are sent
_BIND: Final = {"udp": bind_udp, "tcp": bind_tcp}

Key = tuple[str, str]  # "udp" or "tcp", and the address


class HostSockets:
    """Sockets by kind and address. `answering` answers DNS, `serving` answers HTTP, `sessions` are for DNS Push.

    `hot` returns the prepared answers (see UdpListener); `ours` returns whether this process still reads the sockets.
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
        self.taken: dict[Key, str] = {}  # sockets that another program has, with the error text
        self._reading: dict[Key, UdpListener | TcpListener] = {}

    @property
    def keys(self) -> list[Key]:
        """The keys of the bound sockets, in the order of :meth:`descriptors`."""
        return list(self._bound)

    def descriptors(self) -> list[int]:
        """The descriptors of the bound sockets, which tenants receive."""
        return [sock.fileno() for sock in self._bound.values()]

    def every_descriptor(self) -> list[int]:
        """The same, and the descriptors of all TCP connections."""
        listeners = [each for each in self._reading.values() if isinstance(each, TcpListener)]
        return [*self.descriptors(), *(number for each in listeners for number in each.descriptors())]

    def add(self, key: Key, sock: socket.socket) -> None:
        """Takes over a bound socket."""
        self._bound[key] = sock

    def bind_missing(self, addresses: Sequence[str], port: int, untold: Key) -> bool:
        """Binds UDP and TCP at each address, if not bound yet. Returns whether any socket was bound.

        If another program has one, logs that once, and again when we get it. Does not log that for `untold`, which a
        Minidisc may rightly have: the caller logs it if not.
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
                self.taken[key] = f"{error}. mddns answers at its other sockets, and tries again to bind this one"
                if told:
                    _log.warning("%s", self.taken[key])
        except Error as error:
            _log.debug("%s", error)
        else:
            if known:
                del self.taken[key]
                _log.info("%s %s is free: this process answers there now", kind.upper(), join_address(address, port))

    def replace(self, keys: Sequence[Key], descriptors: Sequence[int]) -> None:
        """Replaces all our sockets by those that a holder passed to us."""
        self.close()
        self._bound = {key: socket.socket(fileno=number) for key, number in zip(keys, descriptors, strict=True)}

    def read(self) -> None:
        """Begins to answer at every bound socket that has no listener yet."""
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
        """Answers a message over TCP; None if another holder took over: the client retries there."""
        return self._answering(wire, source, stream) if self._ours() else None

    async def finish(self, within: float) -> None:
        """Accepts no more queries, and waits `within` seconds at most until the accepted ones are answered."""
        for listener in self._reading.values():
            listener.pause()
        deadline = self._loop.time() + within
        while self._loop.time() < deadline and any(listener.busy for listener in self._reading.values()):
            await asyncio.sleep(_LOOK_EVERY)

    def stop(self) -> None:
        """Stops answering; the sockets stay bound."""
        if self._reading:
            self._sessions.farewell()
        for listener in self._reading.values():
            listener.close()
        self._reading.clear()

    def close(self) -> None:
        """Stops answering, and closes all sockets."""
        self.stop()
        for sock in self._bound.values():
            sock.close()
        self._bound = {}
