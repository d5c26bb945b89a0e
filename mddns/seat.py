"""This process's place on its host: the holder, who answers for all, or one of its tenants.

Who binds UDP at the host's first address is the holder. The others connect to its Unix socket, register
there, and are given its sockets: the port belongs to the host. When the holder ends, or gives no sign
of life, the next in the succession reads the same sockets with the same table, and nothing was ever closed.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import socket
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from .channel import (
    DROPPED,
    HELLO,
    PING,
    PONG,
    REFUSED,
    ROSTER,
    TABLE,
    TOLD_ALL,
    UPDATE,
    WELCOME,
    Line,
    Page,
    channel_path,
    connect,
    listen,
)
from .desk import Desk
from .errors import Error, PortInUse
from .listeners import Answering, TcpListener, UdpListener, bind_tcp, bind_udp
from .model import Service, join_address
from .tenancy import SILENT_AFTER, SUCCESSOR_AFTER, HostTable
from .update import read, updates
from .web import Serving

_log = logging.getLogger("mddns")

VERSION: Final = 1
TICK: Final = 0.1  # seconds between signs of life, and between looks for one
JOIN_WITHIN: Final = 1.0  # seconds in which a holder that has the port must have let us in
WELCOME_WITHIN: Final = 0.5
SETTLE_WITHIN: Final = 1.0

_Key = tuple[str, str]  # kind of socket and address


class Seat:
    """The place of one process. `answering` answers DNS, `serving` HTTP; `changed()` is called when the host's
    table has changed.
    """

    def __init__(self, table: HostTable, answering: Answering, changed: Callable[[], None], serving: Serving) -> None:
        self._table = table
        table.on_serial = self._tell_serial
        self._answering = answering
        self._changed = changed
        self._serving = serving
        self._loop = asyncio.get_running_loop()
        self._sockets: dict[_Key, socket.socket] = {}
        self._meeting: socket.socket | None = None  # the Unix socket on which the holder listens
        self._page: Page | None = None
        self._generation = 0
        self._holder = False
        self._holder_number = 0
        self._udp: list[UdpListener] = []
        self._tcp: list[TcpListener] = []
        self._desk = Desk(table, self._welcome, changed)
        self._line: Line | None = None  # ours to the holder
        self._welcomed: asyncio.Future[bool] | None = None
        self._told = False  # whether the holder knows all that we offer
        self._roster: list[int] = []
        self._pongs: dict[bytes, asyncio.Future[None]] = {}
        self._watching: asyncio.Task[None] | None = None
        self._moving: asyncio.Task[None] | None = None
        self._closed = False
        self._address, self._port = "", 0
        self.place: tuple[str, int] | None = None  # where we are, once we are

    @property
    def is_holder(self) -> bool:
        """Whether this process answers for the host."""
        return self._holder

    async def take(self, address: str, port: int) -> None:
        """Becomes holder or tenant of the host that has `address`. PortInUse where a foreign program has the port."""
        self._address, self._port = address, port
        self._closed = False
        deadline = time.monotonic() + JOIN_WITHIN
        while True:
            try:
                udp = bind_udp(address, port)
                await self._found(udp)
                break
            except PortInUse:
                if await self._join():
                    break
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(random.uniform(0.01, 0.05))
        self._watching = asyncio.create_task(self._watch())
        self.place = address, port

    async def also_at(self, addresses: tuple[str, ...]) -> None:
        """Binds what is not bound yet: TCP, and the other addresses. What cannot be is tried again next time."""
        if not self._holder:
            return
        bound = False
        for address in addresses:
            for kind, bind in (("udp", bind_udp), ("tcp", bind_tcp)):
                if (kind, address) in self._sockets:
                    continue
                try:
                    self._sockets[kind, address] = bind(address, self._port)
                except Error as error:
                    if kind == "tcp" and address == self._address:
                        _log.warning("%s", error)
                    else:
                        _log.debug("%s", error)
                else:
                    bound = True
        if bound:
            await self._answer()
            self._desk.hand_over()

    def publish(self, added: Iterable[Service], withdrawn: Iterable[Service]) -> None:
        """These of our services are new or have changed, those are withdrawn: at once, for whoever is told."""
        for update in updates(added, withdrawn, self._table.apex):
            self._tell(update)

    async def settle(self) -> None:
        """Returns when whoever holds has taken in what was published so far, or nobody does for too long."""
        deadline = time.monotonic() + SETTLE_WITHIN
        while not self._holder and not self._closed and time.monotonic() < deadline:
            if self._line is None or not self._told:
                await asyncio.sleep(TICK / 10)
                continue
            token = os.urandom(8)
            pong = self._pongs[token] = self._loop.create_future()
            self._line.send(PING, token)
            try:
                await asyncio.wait_for(pong, SILENT_AFTER)
            except TimeoutError:
                continue  # the next holder is told everything anew
            else:
                return
            finally:
                self._pongs.pop(token, None)

    async def close(self) -> None:
        """Leaves: tenants go on without us, a holder is told that we are gone. :meth:`take` may follow."""
        self._closed, self.place = True, None
        tasks = [task for task in (self._watching, self._moving) if task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._stop_answering()
        self._leave()

    def let_go(self) -> None:
        """In a forked child: replaces every descriptor by nothing, and touches neither loop nor parent.

        Closing would leave Python objects behind that close the same numbers once more.
        """
        self._closed = True
        nothing = os.open(os.devnull, os.O_RDWR)
        sockets = [*self._sockets.values(), *([self._meeting] if self._meeting else [])]
        numbers = self._desk.descriptors() + [sock.fileno() for sock in sockets]
        if self._line:
            numbers.append(self._line.fileno())
        for listener in self._tcp:
            numbers += listener.descriptors()
        for number in numbers:
            if number >= 0:
                os.dup2(nothing, number, inheritable=False)
        os.close(nothing)

    def _leave(self) -> None:
        self._desk.close()
        if self._line:
            self._line.close()
            self._line = None
        self._forget_sockets()

    # -- the holder

    async def _found(self, udp: socket.socket) -> None:
        """We have the port: the first holder of this host."""
        try:
            self._meeting = listen(channel_path(self._address, self._port))
        except OSError as error:
            # A holder that is just ending still has it, or somebody wants us not to be one.
            udp.close()
            raise PortInUse(
                error.errno, f"the Unix socket of {join_address(self._address, self._port)} is taken"
            ) from error
        self._sockets = {("udp", self._address): udp}
        self._page = Page.create()
        self._generation = self._page.claim(0, time.monotonic()) or 1
        await self._hold()

    async def _hold(self) -> None:
        self._holder, self._holder_number = True, self._table.number
        self._tell_serial(self._table.serial)
        if self._meeting:
            self._loop.add_reader(self._meeting.fileno(), self._accept)
        await self._answer()

    async def _answer(self) -> None:
        """Reads every socket that is not read yet."""
        reading = {each.socket for each in self._udp} | {each.socket for each in self._tcp}
        for (kind, _), sock in list(self._sockets.items()):
            if sock in reading:
                continue
            if kind == "udp":
                self._udp.append(UdpListener(sock, self._answering, self._loop, self._still_holder))
            else:
                self._tcp.append(await TcpListener.open(sock, self._answering, self._serving))

    def _still_holder(self) -> bool:
        """Asked before each burst of questions: somebody who was stopped may wake up replaced."""
        if self._page is None or self._page.generation == self._generation:
            return True
        self._loop.call_soon(self._step_down)
        return False

    def _stop_answering(self) -> None:
        if self._holder and self._meeting:
            self._loop.remove_reader(self._meeting.fileno())
        self._holder = False
        for udp in self._udp:
            udp.close()
        for tcp in self._tcp:
            tcp.close()
        self._udp.clear()
        self._tcp.clear()

    def _tell_serial(self, serial: int) -> None:
        if self._holder and self._page:
            self._page.tell_serial(self._generation, serial)

    def _accept(self) -> None:
        if not self._still_holder() or self._meeting is None:
            return
        try:
            sock, _ = self._meeting.accept()
        except OSError:
            return
        self._desk.admit(sock)

    def _welcome(self) -> tuple[dict[str, Any], list[int]]:
        """What a tenant is told first: our sockets, in the order of their descriptors behind page and Unix socket."""
        told = {
            "generation": self._generation,
            "sockets": list(self._sockets),
            "holder": self._table.number,
            "apexes": self._table.introduced(),
        }
        handed = [self._meeting.fileno()] if self._meeting else []
        handed += [sock.fileno() for sock in self._sockets.values()]
        return told, [self._page.descriptor, *handed] if self._page else handed

    def _tell(self, update: bytes) -> None:
        if self._holder:
            self._desk.tell(update)
        elif self._line:
            self._line.send(UPDATE, update)

    # -- a tenant

    async def _join(self) -> bool:
        """Becomes a tenant of whoever holds; False where nobody lets us in."""
        sock = connect(channel_path(self._address, self._port))
        if sock is None:
            return False
        self._welcomed = welcomed = self._loop.create_future()
        line = Line(sock, self._loop, self._from_holder, lambda: self._line_ended(line))
        self._line = line
        hello = {"version": VERSION, "apex": str(self._table.apex), "number": self._table.number}
        line.send(HELLO, json.dumps(hello).encode())
        try:
            let_in = await asyncio.wait_for(welcomed, WELCOME_WITHIN)
        except TimeoutError:
            let_in = False
        if not let_in:
            if self._line is line:
                self._line = None
            line.close()
            return False
        for update in updates(self._table.registry.everything(), (), self._table.apex):
            line.send(UPDATE, update)
        line.send(TOLD_ALL, b"")
        self._told = True
        return True

    def _from_holder(self, kind: int, payload: bytes, descriptors: list[int]) -> None:
        if kind == WELCOME:
            self._move_in(json.loads(payload), descriptors)
        elif kind == TABLE:
            number = int.from_bytes(payload[:8], "big")
            self._table.apply(number, read(payload[8:], self._table.apex_of(number)), _unix_ms())
        elif kind == ROSTER:
            told = json.loads(payload)
            self._table.meet(told["apexes"])
            self._table.told_everything(_unix_ms())  # a roster ends what a holder tells
            self._table.only(map(int, told["apexes"]), _unix_ms())
            self._roster = told["roster"]
        elif kind == DROPPED:
            self._table.drop(int.from_bytes(payload, "big"), _unix_ms())
        elif kind == PONG:
            pong = self._pongs.get(payload)
            if pong and not pong.done():
                pong.set_result(None)
        elif kind == REFUSED:
            _log.warning("this host's registry refused: %s", payload.decode("utf-8", "replace"))
            if self._welcomed and not self._welcomed.done():
                self._welcomed.set_exception(PortInUse(payload.decode("utf-8", "replace")))

    def _move_in(self, told: dict[str, Any], descriptors: list[int]) -> None:
        self._forget_sockets()
        self._table.told_anew()
        self._table.meet(told["apexes"])
        page, meeting, *rest = descriptors
        self._page = Page(page)
        self._meeting = socket.socket(fileno=meeting)
        self._sockets = {
            (str(kind), str(address)): socket.socket(fileno=descriptor)
            for (kind, address), descriptor in zip(told["sockets"], rest, strict=True)
        }
        self._generation, self._holder_number = int(told["generation"]), int(told["holder"])
        if self._welcomed and not self._welcomed.done():
            self._welcomed.set_result(True)

    def _forget_sockets(self) -> None:
        for sock in self._sockets.values():
            sock.close()
        self._sockets = {}
        if self._meeting:
            self._meeting.close()
            self._meeting = None
        if self._page:
            self._table.follow(self._page.serial)
            self._page.close()
            self._page = None

    def _line_ended(self, line: Line) -> None:
        """The holder has ended: its services with it. The first of the succession goes on at once."""
        if self._line is not line or self._closed:
            return
        self._line = None
        if self._welcomed and not self._welcomed.done():
            self._welcomed.set_result(False)
            return
        self._table.drop(self._holder_number, _unix_ms())
        self._move(at_once=self._rank() == 0)

    def _rank(self) -> int:
        return self._roster.index(self._table.number) if self._table.number in self._roster else len(self._roster)

    # -- succession

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            now = time.monotonic()
            if self._moving is not None and not self._moving.done():
                continue
            if self._holder:
                if self._page and not self._page.beat(self._generation, now):
                    self._step_down()
                self._desk.expire(now)
            elif self._page and (self._page.generation != self._generation or self._page.age(now) > self._patience()):
                self._move(at_once=False)

    def _patience(self) -> float:
        return SILENT_AFTER + SUCCESSOR_AFTER * self._rank()

    def _move(self, *, at_once: bool) -> None:
        if not self._closed and (self._moving is None or self._moving.done()):
            self._moving = asyncio.create_task(self._find_place(at_once))

    async def _find_place(self, at_once: bool) -> None:
        """The holder is gone, silent or replaced: takes over, or becomes its successor's tenant."""
        if self._line:
            self._line.close()
            self._line = None
        while not self._closed:
            page = self._page
            if page is None:
                await self.take_again()
                return
            now, present = time.monotonic(), page.generation
            # Also one that we never were a tenant of may have ended already.
            silent = page.age(now) > self._patience() or (at_once and present == self._generation)
            if silent and (generation := page.claim(present, now)):
                self._generation = generation
                self._table.follow(page.serial)
                self._table.taken_over(now)
                self._table.changed(_unix_ms())
                self._changed()  # the first answer already tells of everyone
                await self._hold()
                _log.info("this process answers for the host from now on", extra={"event": "holder"})
                return
            at_once = False
            try:
                if await self._join():
                    return
            except PortInUse:
                return
            await asyncio.sleep(0.02)

    async def take_again(self) -> None:
        """As at the start, where not even the sockets are left."""
        while not self._closed:
            try:
                udp = bind_udp(self._address, self._port)
            except Error:
                if await self._join():
                    return
                await asyncio.sleep(random.uniform(0.1, 0.3))
            else:
                await self._found(udp)
                return

    def _step_down(self) -> None:
        """Somebody took over while we were stopped: we are a tenant like the others."""
        if not self._holder:
            return
        _log.info("another process answers for the host by now", extra={"event": "tenant"})
        self._stop_answering()
        self._desk.close()
        self._move(at_once=False)


def _unix_ms() -> int:
    return int(time.time() * 1000)
