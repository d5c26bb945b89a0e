"""The forwarder: answers all programs of a machine, for our zone and for other names.

It is the resolver that resolv.conf(5) names. It answers queries below our apex as a node does, from the directory, and
sends all others to the upstreams (:mod:`mddns.forward.relay`). Clients on other machines get only answers below our
apex, unless --recursive opens it.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import logging
import socket
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from ..base.errors import BadMessage, NetworkError, PortInUse
from ..base.model import Snapshot, join_address
from ..base.policy import Policy, who_may_ask
from ..dns.message import CD, EDE_PROHIBITED, IN, MAX_MESSAGE, OPCODE, OPT, QR, RD, REFUSED, Query, read_query
from ..dns.writer import pack_query
from ..files.resolv_conf import Place
from ..files.serial_file import Serials
from ..host.domain import Domain
from ..networks.settings import Settings
from ..responder.compose import compose_plain
from ..responder.counters import TRANSPORTS, Tally
from ..responder.hot_answers import Hot, Kept, is_client_cookie
from ..responder.reaction import Later, Reaction
from ..responder.responder import LOOPBACK_SIZE, PLAIN_SIZE, TAILNET_SIZE, Ask, Client
from ..responder.variant import Variant
from ..server.binding import bind_tcp, bind_udp
from ..server.listeners import TcpListener, UdpListener
from ..system import clock
from ..system.connection_limits import Connections, most_connections
from ..system.port_owner import who_has
from ..zone.merged_zone import MergedZone
from .mirror import Mirror
from .primary import Primary
from .rebinding import private_address
from .relay import Relay
from .upstream_list import UpstreamSource
from .upstream_reply import For

_log = logging.getLogger("mddns")

FIRST_LOOK: Final = 1.0  # seconds to wait for the network at the start
BIND_EVERY: Final = 1.0  # seconds between attempts to bind an address that this machine does not have yet
_REFUSALS_PER_SECOND: Final = 5
_HOT_ANSWERS: Final = 10_000
_HOT_OCTETS: Final = 4 << 20
_ADMITTED: Final = "127.0.0.1"  # the client address that the responder sees, for every client that may query
# TKEY, TSIG, IXFR, AXFR, MAILB, MAILA: meant for the server that receives the query.
_NOT_FORWARDED: Final = frozenset((OPT, 249, 250, 251, 252, 253, 254))


class _Front:
    """One address where the forwarder answers, with the cache of ready responses for its clients."""

    __slots__ = ("hot", "local", "size", "tally")

    def __init__(self, place: Place) -> None:
        self.local = place.is_loopback
        self.size = LOOPBACK_SIZE if self.local else TAILNET_SIZE
        self.hot = Hot(_HOT_ANSWERS, _HOT_OCTETS)
        self.tally: Tally = dict.fromkeys(TRANSPORTS, 0)


class Forwarder:
    """A resolver on given addresses. Create it with :meth:`open`, end it with :meth:`close`; needs an event loop."""

    def __init__(
        self,
        settings: Settings,
        source: UpstreamSource,
        places: Sequence[Place],
        targets: Sequence[Place],
        *,
        recursive: bool,
        block_rebinding: bool,
        serials: Serials | None,
    ) -> None:
        self.apex = settings.apex
        self._source = source
        self._recursive = recursive
        self._clock = clock.now
        last = serials.latest() if serials else None
        zone = MergedZone(settings.apex, (place.address for place in places), clock.unix_ms(), last)
        self._domain = Domain(settings.apex, zone, Policy(), settings.timeout, whole=zone)
        self._primary = Primary(self._domain, zone, targets, places, serials)
        self._mirror = Mirror(settings, self._domain, self._apply, self._primary.changed)
        self._domain.responder.allow(frozenset((_ADMITTED,)))
        self._relay = Relay(settings.apex, self._clock, self._answer_alias, block_rebinding=block_rebinding)
        self._may_ask: frozenset[str] = frozenset()
        self._refusals = (0, 0)
        self._fronts: list[_Front] = []
        self._listeners: list[UdpListener | TcpListener] = []
        self._sockets: list[socket.socket] = []
        self._missing: list[Place] = []
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    async def open(
        cls,
        settings: Settings,
        source: UpstreamSource,
        places: Sequence[Place],
        handed: Sequence[socket.socket] = (),
        *,
        recursive: bool = False,
        block_rebinding: bool = False,
        notify: Sequence[Place] = (),
        serials: Serials | None = None,
    ) -> Forwarder:
        """Returns a forwarder that answers at `places` and on the sockets `handed` over.

        The secondaries `notify` get a NOTIFY for each new serial of the zone; `serials` stores the serials between
        runs. Raises PortInUse or NetworkError if it cannot bind; it waits for addresses that this machine does not
        have yet. The network may be down: other names are answered without it.
        """
        known = [*places, *(_place_of(sock) for sock in handed)]
        source.listening_at(known)
        self = cls(
            settings,
            source,
            known,
            tuple(dict.fromkeys(notify)),
            recursive=recursive,
            block_rebinding=block_rebinding,
            serials=serials,
        )
        try:
            for sock in handed:
                self._answer_on(sock, _place_of(sock))
            for place in places:
                if not self._bind(place):
                    self._missing.append(place)
                    _log.warning("this machine does not have the address %s yet; waiting for it", place.address)
            self._follow_upstreams(again=True)
            self._mirror.start()
            self._primary.start()
            if self._missing:
                self._tasks.append(asyncio.create_task(self._bind_the_rest()))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FIRST_LOOK):
                    await self._mirror.looked.wait()
        except BaseException:
            await self.close()
            raise
        return self

    @property
    def upstreams(self) -> tuple[Place, ...]:
        """The upstreams for names outside our zone."""
        return self._relay.places

    def reload(self) -> None:
        """Reads resolv.conf and the network again, and clears the cache of upstream responses."""
        self._follow_upstreams(again=True)
        self._mirror.look_now()

    async def close(self) -> None:
        """Stops answering and closes every socket."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        self._relay.close()
        await self._mirror.close()
        await self._primary.close()
        if refreshing := self._domain.refreshing:
            refreshing.cancel()
            await asyncio.gather(refreshing, return_exceptions=True)
        for sock in self._sockets:
            sock.close()
        self._sockets.clear()

    # -- sockets

    def _bind(self, place: Place) -> bool:
        """Binds and answers at a place. Returns False if this machine does not have the address now."""
        bound: list[socket.socket] = []
        kind = "UDP"
        try:
            bound.append(bind_udp(*place))
            kind = "TCP"
            bound.append(bind_tcp(*place))
        except PortInUse as error:
            _close(bound)
            where = join_address(*place)
            raise PortInUse(
                error.errno,
                f"{kind} {where} is in use by another program{who_has(kind, *place)}: end it, or use another "
                "address with --listen ADDRESS:PORT",
            ) from error
        except NetworkError as error:
            _close(bound)
            if error.errno == errno.EADDRNOTAVAIL:
                return False
            raise
        for sock in bound:
            self._answer_on(sock, place)
        return True

    def _answer_on(self, sock: socket.socket, place: Place) -> None:
        sock.setblocking(False)
        self._sockets.append(sock)
        front = _Front(place)

        def answering(wire: bytes, address: str, tcp: bool) -> Reaction | Later:
            return self._answer(front, wire, address, tcp)

        def hot() -> Mapping[str, Kept]:
            return front.hot.at(self._relay.epoch, self._clock())

        loop = asyncio.get_running_loop()
        if sock.type == socket.SOCK_DGRAM:
            self._fronts.append(front)
            self._listeners.append(UdpListener(sock, answering, hot, loop, lambda: True))
            return
        most = most_connections()
        # All programs of this machine share one client address.
        connections = Connections(most, most) if front.local else Connections(most)
        self._listeners.append(TcpListener(sock, answering, loop, lambda: True, connections=connections))

    async def _bind_the_rest(self) -> None:
        while self._missing:
            await asyncio.sleep(BIND_EVERY)
            for place in list(self._missing):
                try:
                    if self._bind(place):
                        self._missing.remove(place)
                        _log.warning("answering at %s from now on", join_address(*place))
                except (PortInUse, NetworkError) as error:
                    self._missing.remove(place)
                    _log.error("%s", error)

    # -- changes of upstreams and network

    def _follow_upstreams(self, *, again: bool = False) -> None:
        upstreams = self._source.look(self._clock(), again=again)
        if upstreams is not None or again:
            if upstreams is not None:
                shown = ", ".join(map(str, upstreams.places)) or "none"
                _log.info("upstreams: %s", shown)
                self._relay.use(*upstreams)
            else:
                self._relay.forget()

    def _apply(self, snapshot: Snapshot) -> None:
        self._may_ask = who_may_ask(snapshot)
        for front in self._fronts:
            front.hot.forget_clients()
        self._domain.network(snapshot, frozenset((_ADMITTED,)))

    # -- answers

    def _answer(self, front: _Front, wire: bytes, address: str, tcp: bool) -> Reaction | Later:
        now = self._clock()
        member = front.local or address in self._may_ask
        open_to = front.local or (self._recursive and (member or _is_private(address)))
        if open_to and not tcp:
            front.hot.admit(address, None)
        if len(wire) < 12 or wire[2] & QR >> 8:
            return None
        ours = self._is_ours(wire)
        if member and (ours or wire[2] & OPCODE >> 8):
            return self._answer_ours(front, wire, tcp, now)
        try:
            query = read_query(wire)
        except BadMessage:
            return self._answer_ours(front, wire, tcp, now) if member else None
        question = query.question
        if not open_to or ours:
            return self._refuse(front, query, member, now)
        plain = question.qclass == IN and question.qtype not in _NOT_FORWARDED
        if not plain or (query.edns and query.edns.version):
            return self._answer_ours(front, wire, tcp, now)
        self._follow_upstreams()
        limit = MAX_MESSAGE if tcp else PLAIN_SIZE
        if query.edns and not tcp:
            limit = min(front.size, max(PLAIN_SIZE, query.edns.size))
        asked = For(
            wire[:2],
            query.flags,
            wire[12 : 16 + len(question.qname)],
            limit,
            query.edns is not None,
            bool(query.edns and query.edns.do),
        )
        answer = self._relay.answer(question, asked, now)
        if isinstance(answer, tuple):
            octets, until = answer
            cookie = is_client_cookie(query.edns.options) and wire.endswith(query.edns.options) if query.edns else False
            if until > now and not tcp and (cookie or not query.edns or not query.edns.options):
                front.hot.at(self._relay.epoch, now)
                front.hot.put(None, wire, cookie, octets, front.tally, until)
            return octets
        return answer

    def _answer_ours(self, front: _Front, wire: bytes, tcp: bool, now: float) -> Reaction | Later:
        """Answers as a node does, from the merged view."""
        domain = self._domain
        client = Client(_ADMITTED, MAX_MESSAGE if tcp else front.size, tcp)
        if self._primary.is_asked(wire):
            return self._primary.answer(wire, client, now)
        answer = domain.responder.respond(wire, client, now)
        if isinstance(answer, Ask):
            return domain.ask(answer)
        domain.ask_ahead()
        return answer

    async def _answer_alias(self, name: bytes, qtype: int) -> bytes | None:
        """The answer to a name of ours that an upstream's aliases end at."""
        query = pack_query(name, qtype, ident=0, rd=True, size=MAX_MESSAGE)
        client = Client(_ADMITTED, MAX_MESSAGE, True)
        answer = self._domain.responder.respond(query, client, self._clock())
        if isinstance(answer, Ask):
            later = self._domain.ask(answer)
            return await later if later else None
        self._domain.ask_ahead()
        return answer if isinstance(answer, bytes) else None

    def _is_ours(self, wire: bytes) -> bool:
        """Whether the name of a query is our apex or below it."""
        apex, end, at = self.apex.key, len(wire), 12
        while at < end and 0 < wire[at] < 0x40:
            if wire[at] == apex[0] and wire[at : at + len(apex)].lower() == apex:
                return True
            at += 1 + wire[at]
        return False

    def _refuse(self, front: _Front, query: Query, member: bool, now: float) -> bytes | None:
        if not member:
            second, count = self._refusals
            if int(now) != second:
                second, count = int(now), 0
            self._refusals = second, count + 1
            if count >= _REFUSALS_PER_SECOND:
                return None
        edns = query.edns
        variant = Variant(
            front.size, bool(query.flags & RD), bool(query.flags & CD), edns is not None, bool(edns and edns.do)
        )
        why = (
            "only this machine gets answers for names outside our own zone"
            if member
            else "only nodes of this network get answers"
        )
        return compose_plain(query, variant, REFUSED, ((EDE_PROHIBITED, why),))


def _place_of(sock: socket.socket) -> Place:
    address, port = sock.getsockname()[:2]
    return Place(str(address), int(port))


def _is_private(address: str) -> bool:
    return private_address((ipaddress.ip_address(address.partition("%")[0]).packed,)) is not None


def _close(sockets: Iterable[socket.socket]) -> None:
    for sock in sockets:
        sock.close()
