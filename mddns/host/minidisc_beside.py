"""Exchanges services with Minidisc's programs on our own host. Only the holder does this.

If the holder has the TCP port, Minidisc's programs register with it as delegates, and it queries them for their
services. If one of them (the leader) had the port first, the holder registers as its delegate: it lists our services
on a second port, without those that it got from Minidisc, so that no service comes back to its origin; and it reads
the leader's list. In both cases this host's answers include the services of Minidisc's programs.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from ..base.errors import Error
from ..base.model import Service, fold, join_address
from ..codec.answer import Told
from ..codec.minidisc_json import (
    Listed,
    read_delegate,
    read_response,
    read_services,
    request,
    write_delegate,
    write_services,
)
from ..http.cross_site import Names
from ..http.dispatch import Site, plain
from ..http.messages import Handler, Request, Response
from ..registry.host_table import HostTable
from ..registry.minidisc_delegates import Pings, Place
from ..responder.counters import Counts
from ..server.binding import bind_tcp
from ..server.listeners import TcpListener
from ..system import clock
from .role import Role

_log = logging.getLogger("mddns")

ASK_WITHIN: Final = 1.0  # seconds in which a delegate must answer
LEADER_WITHIN: Final = 4.5  # seconds in which a leader must answer; it first asks its delegates, one after the other
LEADER_EVERY: Final = 5.0  # seconds between queries to the leader
FRESH: Final = 1.0  # seconds for which a delegate's answer is used for all clients without a new query
STANDS: Final = 15.0  # seconds for which a leader's list stays valid while the leader does not answer
WHOIS_WITHIN: Final = 2.0
_TICK: Final = 0.2  # seconds between two checks of what is due
_QUIET_TICK: Final = 1.0  # the same without delegates and leader, as on most hosts
_HANG: Final = 1.5  # seconds after which the ping of every Minidisc has timed out
_JSON: Final = "application/json; charset=utf-8"

Whois = Callable[[str, int, float], Awaitable[bool]]


class Beside:
    """Minidisc's programs on this host. `changed()` is called when their services have changed.

    `admit(service)` returns whether a service of theirs is accepted. `whois(address, port, timeout)` returns whether a
    connection came from another node; None if the network cannot find that out.
    """

    def __init__(
        self,
        table: HostTable,
        counts: Counts,
        admit: Callable[[Service], bool],
        changed: Callable[[], None],
        whois: Whois | None,
    ) -> None:
        self._table = table
        self._seat: Role | None = None
        self._admit = admit
        self._changed = changed
        self._whois = whois
        self._delegates = table.delegates
        self._pings = Pings()
        self._reached_at: tuple[str, ...] = ()
        self._task: asyncio.Task[None] | None = None
        self._asking: asyncio.Task[None] | None = None
        self._leading = False
        self._registered = asyncio.Event()
        self._port: TcpListener | None = None  # where a leader asks us for our services
        self._site = Site({}, {("GET", "/services"): self._list_ours, ("GET", "/ping"): _pong}, counts)
        self.routes: dict[tuple[str, str], Handler] = {
            ("GET", "/services"): self._services,
            ("GET", "/ping"): self._ping,
            ("POST", "/add-delegate"): self._add_delegate,
        }
        self._asked = 0  # how many times a leader asked us
        self._given: set[tuple[str, str]] = set()  # the services we gave the leader since we last asked it
        self._joined = False
        self._leader_told = 0.0
        self._next_look = 0.0
        self._complaints: dict[str, str] = {}

    def start(self, seat: Role) -> None:
        """Starts the periodic task. It exchanges services while `seat` is the holder."""
        self._seat = seat
        self._task = asyncio.create_task(self._run(seat))

    async def close(self) -> None:
        """Stops the task, and closes every socket."""
        tasks = [task for task in (self._task, self._asking) if task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._part()

    def moved(self, reached_at: tuple[str, ...], own: frozenset[str], may_ask: frozenset[str], names: Names) -> None:
        """Sets the addresses at which this host is reached, the addresses that may ask it, and its names."""
        self._site.moved(own, may_ask, names)
        if reached_at != self._reached_at:
            self._part()
            self._reached_at = reached_at

    def descriptors(self) -> list[int]:
        """The descriptors of our second port: its listening socket and its connections."""
        return [self._port.socket.fileno(), *self._port.descriptors()] if self._port else []

    # -- HTTP requests on the port

    async def _services(self, request: Request) -> Response:
        """``GET /services``: this host's services. Asks the delegates first, but none that missed its last query."""
        if self._delegates.due(clock.now(), FRESH):
            await asyncio.shield(self._ask_delegates(FRESH))
        return Response(200, write_services(self._table.services()), _JSON)

    async def _ping(self, request: Request) -> Response:
        """``GET /ping``. Answers too late if a delegate of the previous leader may ask, so that it registers here."""
        if request.own and not self._pings.accounted_for(clock.now(), len(self._delegates.places)):
            self._delegates.look_soon(clock.now())
            await asyncio.sleep(_HANG)
        return Response(200)

    async def _add_delegate(self, request: Request) -> Response:
        """``POST /add-delegate``, from a program of this host, for a port of this host."""
        try:
            address, port = read_delegate(request.body)
        except ValueError as error:
            return plain(400, f"the body names no delegate: {error}")
        me = self._table.me
        if not request.own or address not in (*me.addresses, *self._reached_at):
            return plain(403, "a delegate must be a program of this host, at one of its own addresses")
        if port == me.port:
            return plain(403, "a delegate must not be at this port, where delegates are registered")
        if me.addresses[0] not in self._reached_at:
            # Userspace networking: all connections come from loopback, and only the daemon has our addresses.
            if await self._is_a_peer(request.address, request.port):
                return plain(403, "a delegate must be a program of this host")
            address = self._reached_at[0]
        if not self._delegates.add((address, port), clock.now()):
            return plain(503, "this host has the largest number of delegates that is allowed")
        self._pings.registered()
        self._registered.set()
        self._told_of_delegates()
        return Response(200)

    async def _is_a_peer(self, address: str, port: int) -> bool:
        if self._whois is None:
            return True
        try:
            return await self._whois(address, port, WHOIS_WITHIN)
        except (Error, OSError) as error:
            _log.warning("cannot find out which machine asks to be a delegate, so it is refused: %s", error)
            return True

    # -- the periodic task

    async def _run(self, seat: Role) -> None:
        while True:
            try:
                await self._look(seat)
            except Error as error:
                self._complain("", str(error))
            self._registered.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_QUIET_TICK if self._is_quiet(seat) else _TICK):
                    await self._registered.wait()

    def _is_quiet(self, seat: Role) -> bool:
        """Whether there is nothing to do until a delegate registers, or the role of this process changes."""
        return not self._delegates.places and (self._leading if seat.is_holder else self._port is None)

    async def _look(self, seat: Role) -> None:
        now = clock.now()
        if not seat.is_holder:
            self._leading = False
            self._part()
        elif not seat.lacks_tcp:
            if not self._leading:
                self._leading = True
                self._part()
                self._pings.begin(now, len(self._delegates.places))
                self._publish()
            if self._delegates.due(now):
                await self._ask_delegates()
        elif now >= self._next_look:
            self._leading = False
            await self._join(seat)

    async def _ask_delegates(self, age: float | None = None) -> None:
        """Asks all delegates that are due, in parallel. If such a round is under way, waits for it instead."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask_all(age))
        await asyncio.wait({self._asking})

    async def _ask_all(self, age: float | None) -> None:
        now = clock.now()
        due = self._delegates.due(now, age)
        before = self._delegates.places
        self._delegates.asked(due, now)
        await asyncio.gather(*map(self._ask, due))
        if self._delegates.places != before:
            self._told_of_delegates()
        if self._leading:
            self._publish()

    async def _ask(self, place: Place) -> None:
        try:
            listed = await self._list_of(place, ASK_WITHIN)
        except ConnectionRefusedError:
            self._delegates.refused(place)
        except (OSError, ValueError) as error:
            self._complain(join_address(*place), f"a delegate of this host does not answer: {error or 'too slow'}")
        else:
            self._delegates.answered(place, listed.told, clock.now())

    def _told_of_delegates(self) -> None:
        if self._seat:
            self._seat.delegates_changed()

    def _publish(self) -> None:
        self._offer(self._delegates.told(clock.now()))

    def _offer(self, told: Iterable[Told]) -> None:
        added, withdrawn = self._table.neighbours(told, self._admit, clock.unix_ms())
        if added or withdrawn:
            if self._seat:
                self._seat.publish_neighbours(added, withdrawn)
            self._changed()

    # -- while Minidisc has the port

    async def _join(self, seat: Role) -> None:
        """Asks the leader for its list. If it did not ask us meanwhile, we are not its delegate: registers with it."""
        place = self._reached_at[0], self._table.me.port
        now = clock.now()
        self._next_look = now + LEADER_EVERY
        asked = self._asked
        self._given.clear()
        try:
            if self._port is None:
                sock = bind_tcp(place[0], 0)
                self._port = TcpListener(sock, _no_dns, asyncio.get_running_loop(), lambda: True, self._site)
            listed = await self._list_of(place, LEADER_WITHIN)
            if self._asked == asked:
                await self._register(place, self._port)
        except ConnectionRefusedError:
            # The leader has ended: the first process that binds the port is the next one.
            self._next_look = now + 1.0
            self._joined = False
            await seat.also_at(self._reached_at)
        except (OSError, ValueError) as error:
            _log.debug("TCP %s: %s", join_address(*place), error or "no answer")
            self._complain("", f"{seat.tcp_taken} (that program is not Minidisc)")
            if now - self._leader_told > STANDS:
                self._offer(())
        else:
            self._leader_told = clock.now()
            ours = self._given | {_key(each.name, str(each.endpoint)) for each in self._table.ours()}
            self._offer(
                each for each in listed.told if _key(each.name, join_address(each.addresses[0], each.port)) not in ours
            )

    async def _register(self, place: Place, port: TcpListener) -> None:
        body = write_delegate(*port.socket.getsockname()[:2])
        status, said = await _fetch(place, request("POST", "/add-delegate", join_address(*place), body), ASK_WITHIN)
        if status != 200:
            text = said[:200].decode("utf-8", "replace").strip()
            self._complain(
                "", f"Minidisc at {join_address(*place)} refuses this process as its delegate: HTTP {status} {text}"
            )
            return
        if not self._joined:
            self._joined = True
            _log.info(
                "Minidisc has TCP %s: this process is its delegate, and lists this host's services for it",
                join_address(*place),
            )
        self._next_look = clock.now() + _TICK

    def _list_ours(self, request: Request) -> Response:
        services = self._table.ours()
        if request.own:
            self._asked += 1
            self._given |= {_key(each.name, str(each.endpoint)) for each in services}
        return Response(200, write_services(services), _JSON)

    def _part(self) -> None:
        """Ends our registration with a leader: closes the second port."""
        if self._port:
            self._port.close()
            self._port.socket.close()
            self._port = None
        self._joined = False
        self._next_look = 0.0

    # -- in both cases

    async def _list_of(self, place: Place, limit: float) -> Listed:
        status, body = await _fetch(place, request("GET", "/services", join_address(*place)), limit)
        if status != 200:
            raise ValueError(f"HTTP {status}")
        listed = read_services(body, self._table.me)
        if listed.left_out:
            what = f"{listed.left_out} entries of its list cannot be used: {listed.why}"
            self._complain(join_address(*place), f"Minidisc at {join_address(*place)}: {what}")
        else:
            self._complaints.pop(join_address(*place), None)
        return listed

    def _complain(self, about: str, text: str) -> None:
        """Logs `text`, unless it is the last text logged about the same."""
        if self._complaints.get(about) != text:
            if len(self._complaints) > 100:
                self._complaints.clear()
            self._complaints[about] = text
            _log.warning("%s", text)


def _no_dns(wire: bytes, address: str, tcp: bool) -> None:
    """Answers no DNS: leaders use HTTP only."""


def _pong(request: Request) -> Response:
    return Response(200)


def _key(name: str, endpoint: str) -> tuple[str, str]:
    return fold(name), endpoint


async def _fetch(place: Place, octets: bytes, limit: float) -> tuple[int, bytes]:
    """Sends a request. Returns status and body of the response; OSError (TimeoutError) or ValueError without one."""
    async with asyncio.timeout(limit):
        reader, writer = await asyncio.open_connection(*place)
        try:
            writer.write(octets)
            received = b""
            while True:
                more = await reader.read(1 << 16)
                received += more
                response = read_response(received, ended=not more)
                if response is not None:
                    return response
        finally:
            writer.close()
