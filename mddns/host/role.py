"""The role of this process on its host: the holder, which answers for all processes, or one of its tenants.

The process that binds UDP at the host's first address is the holder. The others are its tenants: they connect to its
Unix socket, register their services there, and receive its sockets. The port belongs to the host: when the holder
ends, or its heartbeat stops, the next tenant in the succession reads the same sockets with the same table. No socket
is closed in between.

If a registry has the port and its Unix socket cannot be reached, this process stands by: it binds the port as soon
as the port is free.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from ..base.errors import Error, PortInUse
from ..base.model import DEFAULT_DOMAIN, Service, join_address
from ..base.names import Name
from ..codec.update import updates
from ..http.messages import Serving
from ..registry.host_table import HostTable
from ..responder.hot_answers import Kept
from ..responder.reaction import Answering
from ..server.acceptor import Acceptor
from ..server.binding import bind_udp
from ..server.push_sessions import Sessions
from ..system import clock
from ..system.after_fork import let_go
from .holder import HolderSide
from .host_sockets import HostSockets
from .port_check import is_registry
from .takeover import SILENT_AFTER, Takeover
from .tenant import WELCOME_WITHIN, TenantSide
from .unix_socket import VERSION, Page, channel_path, life, listen

if TYPE_CHECKING:
    from ..files.serial_file import Serials

_log = logging.getLogger("mddns")

FINISH_WITHIN: Final = 0.5  # seconds for the answers to queries already accepted, when this process leaves
BEAT_EVERY: Final = 0.1  # seconds between heartbeats while the holder has tenants, which watch for them
_ALONE_EVERY: Final = 1.0  # seconds between the holder's periodic checks while it has no tenants
JOIN_WITHIN: Final = 1.0  # seconds in which the holder of the port must admit this process
SETTLE_WITHIN: Final = 1.0
REFUSED_PAUSE: Final = 1.0  # seconds until we try again to join a holder that refused us; doubles up to
REFUSED_PAUSE_AT_MOST: Final = 60.0
RACE_EVERY: Final = 0.1  # seconds between attempts to bind a port that another registry has
_KNOCK_AGAIN: Final = 2.0  # seconds until we try again to join a process that did not admit us
_BIND_AGAIN: Final = 5.0  # seconds until we try again to bind the sockets that another program has
_MEET_AGAIN: Final = 1.0  # seconds until we try again to bind a Unix socket that another process has


class Role:
    """The role of one process. `answering` answers DNS, `serving` answers HTTP, `sessions` are those of DNS Push.

    `changed()` is called when the host's table has changed. `hot` returns the prepared answers: see UdpListener.
    """

    def __init__(
        self,
        table: HostTable,
        answering: Answering,
        hot: Callable[[], Mapping[str, Kept]],
        changed: Callable[[], None],
        serving: Serving,
        sessions: Sessions,
        serials: Serials | None = None,
    ) -> None:
        self._table = table
        table.on_serial = self._tell_serial
        self._serials = serials
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._sockets = HostSockets(answering, hot, serving, sessions, self._still_holder, self._loop)
        self._meeting: socket.socket | None = None  # the Unix socket on which the holder listens
        self._accepting: Acceptor | None = None
        self._meet_again: float | None = None
        self._page: Page | None = None
        self._generation = 0
        self._holder = False
        self._holder_number = 0
        self._holder_side = HolderSide(table, self._welcome, changed)
        self._tenant_side = TenantSide(table, self._loop, self._move_in, self._holder_ended)
        self._watching: asyncio.TimerHandle | None = None
        self._moving: asyncio.Task[None] | None = None
        self._closed = False
        self._finishing_until = 0.0  # until then we answer the queries we received, even if the port has a new holder
        self._standing_by = False
        self._takeover = Takeover()
        self._wanted: tuple[str, ...] = ()  # the addresses at which the holder answers
        self._bind_again = 0.0
        self._address, self._port = "", 0
        self.place: tuple[str, int] | None = None  # address and port, after :meth:`take`

    @property
    def is_holder(self) -> bool:
        """Whether this process answers for the host."""
        return self._holder

    @property
    def generation(self) -> int:
        """The number of holder changes so far, as of when this process last became the holder or joined one."""
        return self._generation

    @property
    def lacks_tcp(self) -> bool:
        """Whether this process is the holder, and another program has the TCP port."""
        return self._holder and ("tcp", self._address) not in self._sockets.keys

    @property
    def tcp_taken(self) -> str:
        """Why the TCP port at the first address could not be bound; "" if it was bound."""
        return self._sockets.taken.get(("tcp", self._address), "")

    async def take(self, address: str, port: int) -> None:
        """Becomes the holder or a tenant of the host that has `address`.

        If the port belongs to a registry that admits no tenant or cannot be reached, this process stands by. Raises
        PortInUse if a program that is no registry has the port, or the holder refuses this process.
        """
        self._address, self._port = address, port
        self._closed, self._finishing_until = False, 0.0
        self._table.let_in(self._table.number, self._table.apex, life())
        deadline = time.monotonic() + JOIN_WITHIN
        while True:
            late = time.monotonic() > deadline
            try:
                self._found(bind_udp(address, port, named=late))
                break
            except PortInUse:
                if await self._join():
                    break
                if refused := self._tenant_side.refused:
                    raise PortInUse(f"this host's registry refused this process: {refused}") from None
                if late:
                    apexes = self._table.apex, Name.parse(DEFAULT_DOMAIN)
                    # A registry accepts at its Unix socket, or identifies itself over DNS. Anything else is foreign.
                    if not (self._tenant_side.knocked or await is_registry(address, port, apexes)):
                        raise
                    self._stand_by()
                    break
                await asyncio.sleep(_at_random(0.01, 0.05))
        self._watch()
        self.place = address, port

    async def also_at(self, addresses: tuple[str, ...]) -> None:
        """Binds what is not bound yet: TCP, and the other addresses. Retries periodically what cannot be bound."""
        self._wanted = addresses
        if self._holder:
            self._bind_wanted()

    def _bind_wanted(self) -> None:
        if self._sockets.bind_missing(self._wanted, self._port, untold=("tcp", self._address)):
            self._sockets.read()
            self._holder_side.hand_over()
        self._bind_again = time.monotonic() + _BIND_AGAIN

    def publish(self, added: Iterable[Service], withdrawn: Iterable[Service]) -> None:
        """Sends changes of our services (new and changed, withdrawn) to the holder; as the holder, to all tenants."""
        for update in updates(added, withdrawn, self._table.apex):
            if self._holder:
                self._holder_side.tell(update)
            else:
                self._tenant_side.tell(update)

    def publish_neighbours(self, added: Iterable[Service], withdrawn: Iterable[Service]) -> None:
        """As the holder: sends changes of the services of Minidisc's programs on this host to all tenants."""
        self._holder_side.tell_roster()  # it names the apex of these services
        for update in updates(added, withdrawn, self._table.apex):
            self._holder_side.tell_of_neighbours(update)

    def delegates_changed(self) -> None:
        """Sends the list of Minidisc's delegates to the tenants: the next holder needs it."""
        self._holder_side.tell_roster()

    async def settle(self) -> None:
        """Waits until the holder has processed what was published so far, for SETTLE_WITHIN at most."""
        deadline = time.monotonic() + SETTLE_WITHIN
        while not (self._holder or self._closed or self._standing_by) and time.monotonic() < deadline:
            if not self._tenant_side.joined:
                await asyncio.sleep(BEAT_EVERY / 10)
            elif await self._tenant_side.heard(SILENT_AFTER):
                return  # otherwise we register everything again at the next holder

    async def close(self) -> None:
        """Leaves the host: a tenant succeeds us, or the holder drops our services. :meth:`take` may follow."""
        self._closed, self.place = True, None
        if self._watching:
            self._watching.cancel()
        if self._moving:
            self._moving.cancel()
            await asyncio.gather(self._moving, return_exceptions=True)
        self._stop_accepting()
        if self._holder and self._still_holder():
            self._finishing_until = time.monotonic() + FINISH_WITHIN
        self._holder_side.close()  # from here on the next in the succession reads our sockets
        self._tenant_side.leave()
        await self._sockets.finish(FINISH_WITHIN)
        self._holder = False
        self._forget_sockets()

    def let_go(self, more: Iterable[int] = ()) -> None:
        """In a forked child: points all descriptors, and `more`, at /dev/null. Touches neither loop nor parent."""
        self._closed = True
        numbers = [
            *more,
            *self._holder_side.descriptors(),
            *self._sockets.every_descriptor(),
            self._tenant_side.fileno(),
        ]
        numbers += [self._meeting.fileno()] if self._meeting else []
        let_go(numbers)

    # -- the holder

    def _found(self, udp: socket.socket) -> None:
        """Becomes the first holder of this host: `udp` is bound."""
        try:
            self._page = Page.create()
        except Error:
            udp.close()
            raise
        self._sockets.add(("udp", self._address), udp)
        self._generation = self._page.claim(0, time.monotonic()) or 1
        self._hold()

    def _hold(self) -> None:
        self._holder, self._holder_number = True, self._table.number
        self._standing_by = False
        self._tell_serial(self._table.serial)
        self._sockets.read()
        self._meet()

    def _meet(self) -> None:
        """Begins to admit tenants. If another process has the Unix socket, answers without tenants and tries again."""
        try:
            self._meeting = listen(channel_path(self._address, self._port), self._meeting)
        except OSError as error:
            if self._meet_again is None:
                where = join_address(self._address, self._port)
                _log.warning("other registries of this host cannot join: Unix socket of %s: %s", where, error)
            self._meet_again = time.monotonic() + _MEET_AGAIN
        else:
            self._meet_again = None
            self._accepting = Acceptor(
                self._meeting,
                self._loop,
                self._still_holder,
                self._holder_side.admit,
                "other registries of this host must wait",
            )

    def _still_holder(self) -> bool:
        """Whether this process may still answer. Steps down if another one took over, as can happen during a stop.

        Called before each burst of queries.
        """
        if self._page is None or self._page.generation == self._generation:
            return True
        if time.monotonic() < self._finishing_until:
            return True
        self._loop.call_soon(self._step_down)
        return False

    def _tell_serial(self, serial: int) -> None:
        if self._holder and self._page:
            self._page.tell_serial(self._generation, serial)
            self._keep(serial)

    def _keep(self, serial: int) -> None:
        if self._serials:
            self._serials.given_out(serial)

    def _stop_accepting(self) -> None:
        if self._accepting:
            self._accepting.close()
            self._accepting = None

    def _welcome(self) -> tuple[dict[str, Any], list[int]]:
        """The content of WELCOME, and its descriptors: page, Unix socket, then one for each of its `sockets`."""
        self._loop.call_soon(self._watch)  # from now on a tenant watches for heartbeats
        if self._page:
            self._page.beat(self._generation, time.monotonic())
        told = {
            "version": VERSION,
            "generation": self._generation,
            "sockets": self._sockets.keys,
            "holder": self._table.number,
            "apexes": self._table.introduced(),
        }
        ours = [self._page.descriptor] if self._page else []
        ours += [self._meeting.fileno()] if self._meeting else []
        return told, ours + self._sockets.descriptors()

    # -- a tenant

    async def _join(self, within: float = WELCOME_WITHIN) -> bool:
        return await self._tenant_side.join(channel_path(self._address, self._port), min(within, WELCOME_WITHIN))

    def _move_in(self, told: dict[str, Any], descriptors: list[int]) -> None:
        keys = [(str(kind), str(address)) for kind, address in told["sockets"]]
        if len(descriptors) != len(keys) + 2:
            for descriptor in descriptors:
                os.close(descriptor)
            raise ValueError("some sockets of the WELCOME message are missing (is no file descriptor left?)")
        self._forget_sockets()
        page, meeting, *bound = descriptors
        self._page = Page(page)
        self._meeting = socket.socket(fileno=meeting)
        self._sockets.replace(keys, bound)
        self._table.meet(told["apexes"])
        self._table.told_anew()
        self._generation, self._holder_number = int(told["generation"]), int(told["holder"])
        if self._page.generation == self._generation:  # WELCOME may be read late, when its sender has ended long ago
            self._takeover.holds(self._generation, time.monotonic())
        self._standing_by = False

    def _forget_sockets(self) -> None:
        self._sockets.close()
        if self._meeting:
            self._meeting.close()
            self._meeting = None
        if self._page:
            self._table.follow(self._page.serial)
            self._page.close()
            self._page = None

    def _holder_ended(self) -> None:
        """Drops the holder's services. If this process is next in the succession, it takes over without waiting."""
        if not self._closed:
            self._table.drop(self._holder_number, clock.unix_ms())
            self._move(at_once=self._tenant_side.is_next)

    # -- succession

    def _watch(self) -> None:
        """Writes our heartbeat as the holder, or checks the holder's as a tenant; schedules its next call."""
        if self._watching:
            self._watching.cancel()
        self._watching = self._loop.call_later(self._look(time.monotonic()), self._watch)

    def _look(self, now: float) -> float:
        """Checks once. Returns the seconds until the next check, as many as possible: a timer wakes the processor."""
        page = self._page
        if page is None or (self._moving is not None and not self._moving.done()):
            return BEAT_EVERY
        if self._holder:
            if not page.beat(self._generation, now):
                self._step_down()
                return BEAT_EVERY
            self._takeover.holds(self._generation, now)
            self._holder_side.expire(now)
            if self._meet_again is not None and now >= self._meet_again:
                self._meet()
            if now >= self._bind_again:
                self._bind_wanted()
            return BEAT_EVERY if self._holder_side.occupied else _ALONE_EVERY
        left = self._patience(page, now) - page.age(now)
        if left <= 0 or page.generation != self._generation:
            self._move(at_once=False)
            return BEAT_EVERY
        self._takeover.holds(self._generation, now)
        self._keep(page.serial)  # the holder's program may not save the serial
        # If the holder has changed, we must register at the new one within CONFIRM_WITHIN.
        return min(left, SILENT_AFTER)

    def _patience(self, page: Page, now: float) -> float:
        return self._takeover.patience(self._tenant_side.rank, page.generation, now)

    def _move(self, *, at_once: bool) -> None:
        if not self._closed and (self._moving is None or self._moving.done()):
            self._moving = asyncio.create_task(self._find_place(at_once))

    async def _find_place(self, at_once: bool) -> None:
        """The holder has ended, is silent or was replaced: takes over, or becomes a tenant of the new holder."""
        self._tenant_side.catch_up()
        self._tenant_side.leave(moving=True)
        pause, again = REFUSED_PAUSE, 0.0
        while not self._closed:
            page = self._page
            if page is None:
                await self._race()
                return
            now, present = time.monotonic(), page.generation
            ended = at_once and present == self._generation
            generation = self._takeover.take_over(page, present, self._tenant_side.rank, now, ended=ended)
            if generation:
                self._taken_over(page, present, generation, now)
                return
            at_once = False
            if now < again:
                await asyncio.sleep(BEAT_EVERY)
                continue
            # A holder that has just ended admits no tenant. Its Unix socket still accepts connections: we share it.
            if await self._join(max(BEAT_EVERY, self._patience(page, now) - page.age(now))):
                return
            if self._tenant_side.refused:  # until then the holder may end or change
                again, pause = now + pause, min(2 * pause, REFUSED_PAUSE_AT_MOST)
            await asyncio.sleep(0.02)

    def _taken_over(self, page: Page, present: int, generation: int, now: float) -> None:
        """Becomes the holder of `generation`, after the holder of the `present` one."""
        if self._takeover.is_outdated(present, now):
            self._table.moved(clock.unix_ms())
        self._generation = generation
        self._takeover.holds(generation, now)
        self._table.follow(page.serial)
        self._table.taken_over(now)
        self._table.changed(clock.unix_ms())
        self._holder_side.expire(now)
        self._changed()  # so that the first answer has the services of all processes
        self._hold()
        self._watch()
        _log.info("this process answers for the host from now on", extra={"event": "holder"})
        self._bind_wanted()

    def _stand_by(self) -> None:
        _log.warning(
            "another registry has %s and does not let this process in (is it stopped, or in another container?): "
            "standing by; resolvers find the services of this process as soon as that registry lets it in, or ends",
            join_address(self._address, self._port),
        )
        self._standing_by = True
        self._moving = asyncio.create_task(self._race())

    async def _race(self) -> None:
        """Without the host's sockets: tries to bind the port, and to join its holder, until one of them succeeds."""
        knock = 0.0
        while not self._closed:
            try:
                self._found(bind_udp(self._address, self._port, named=False))
            except Error:
                if time.monotonic() >= knock:
                    if await self._join():
                        _log.info("the host's registry has let this process in", extra={"event": "tenant"})
                        return
                    knock = time.monotonic() + _KNOCK_AGAIN if self._tenant_side.knocked else 0.0
                await asyncio.sleep(_at_random(0.5, 1.0) * RACE_EVERY)
            else:
                self._changed()
                _log.info("this process answers for the host from now on", extra={"event": "holder"})
                self._bind_wanted()
                return

    def _step_down(self) -> None:
        """Becomes a tenant: another process took over while this one was stopped."""
        if not self._holder:
            return
        _log.info("another process answers for the host now", extra={"event": "tenant"})
        self._holder = False
        self._stop_accepting()
        self._sockets.stop()
        self._holder_side.close()
        self._move(at_once=False)


def _at_random(least: float, most: float) -> float:
    from random import uniform  # imports hash modules too; most processes get the port on the first attempt

    return uniform(least, most)
