"""A tenant's side of the Unix socket: joins the holder, registers there, and applies its frames to the host's table."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Callable
from typing import Any, Final

from ..codec.update import read, updates
from ..registry.host_table import HostTable
from ..system import clock
from .unix_socket import (
    DROPPED,
    HELLO,
    MOVING,
    OLDEST,
    PING,
    PONG,
    REFUSED,
    ROSTER,
    TABLE,
    TOLD_ALL,
    UPDATE,
    VERSION,
    WELCOME,
    Line,
    connect,
    has_ended,
    life,
)

_log = logging.getLogger("mddns")

WELCOME_WITHIN: Final = 0.5  # seconds in which the holder must answer HELLO


class TenantSide:
    """This process's connection to the holder, one at a time.

    `move_in(told, descriptors)` takes over the content of WELCOME and its descriptors, and raises ValueError if
    descriptors are missing; `ended()` is called when a holder that had admitted us has ended.
    """

    def __init__(
        self,
        table: HostTable,
        loop: asyncio.AbstractEventLoop,
        move_in: Callable[[dict[str, Any], list[int]], None],
        ended: Callable[[], None],
    ) -> None:
        self.refused = ""  # why the holder refused us, or a frame of ours, since we last tried to join
        self.knocked = False  # whether a process listened at the Unix socket when we last tried to join
        self._said = ""
        self._table = table
        self._loop = loop
        self._move_in = move_in
        self._ended = ended
        self._line: Line | None = None
        self._welcomed: asyncio.Future[bool] | None = None
        self._told = False  # whether we have sent the holder all our services
        self._roster: list[int] = []
        self._pongs: dict[bytes, asyncio.Future[None]] = {}

    @property
    def joined(self) -> bool:
        """Whether we have a holder, and have sent it all our services."""
        return self._line is not None and self._told

    @property
    def rank(self) -> int:
        """The number of tenants before us in the succession."""
        return len(self._before_us)

    @property
    def is_next(self) -> bool:
        """Whether every tenant before us in the succession has ended, or there is none."""
        return all(has_ended(self._table.life_of(number)) for number in self._before_us)

    @property
    def _before_us(self) -> list[int]:
        own = self._table.number
        return self._roster[: self._roster.index(own)] if own in self._roster else self._roster

    def fileno(self) -> int:
        """The connection's descriptor; -1 without a connection."""
        return self._line.fileno() if self._line else -1

    async def join(self, path: str, within: float = WELCOME_WITHIN) -> bool:
        """Becomes a tenant of the present holder. False if no holder admits us `within` so many seconds."""
        self.leave()
        self.refused = ""
        try:
            sock = connect(path)
        except BlockingIOError:
            self.knocked = True
            return False
        self.knocked = sock is not None
        if sock is None:
            return False
        self._welcomed = welcomed = self._loop.create_future()
        self._line = line = Line(sock, self._loop, self._on_frame, lambda: self._on_end(line))
        hello = {
            "version": VERSION,
            "oldest": OLDEST,
            "apex": str(self._table.apex),
            "number": self._table.number,
            "life": life(),
        }
        line.send(HELLO, json.dumps(hello).encode())
        try:
            let_in = await asyncio.wait_for(welcomed, within)
        except TimeoutError:
            let_in = False
        if not let_in:
            self.leave()
            return False
        for update in updates(self._table.registry.everything(), (), self._table.apex):
            line.send(UPDATE, update)
        line.send(TOLD_ALL, b"")
        self._told = True
        return True

    def tell(self, update: bytes) -> None:
        """Sends an update of our services to the holder, if there is one: the next holder gets all services anyway."""
        if self._line:
            self._line.send(UPDATE, update)

    async def heard(self, within: float) -> bool:
        """Whether the holder confirms `within` so many seconds that it has processed all we sent so far."""
        if self._line is None:
            return False
        token = os.urandom(8)
        pong = self._pongs[token] = self._loop.create_future()
        self._line.send(PING, token)
        try:
            await asyncio.wait_for(pong, within)
        except TimeoutError:
            return False
        finally:
            self._pongs.pop(token, None)
        return True

    def catch_up(self) -> None:
        """Processes the frames that have arrived: after a stop, an event loop may run its timers before it reads."""
        if self._line:
            self._line.drain()

    def leave(self, *, moving: bool = False) -> None:
        """Closes the connection. With `moving`, the holder keeps our services: we will register at a holder again."""
        self._told = False
        if self._line:
            if moving:
                self._line.send(MOVING, b"")
            self._line.close()
            self._line = None

    def _on_end(self, line: Line) -> None:
        if self._line is not line:
            return
        self._line, self._told = None, False
        if self._welcomed and not self._welcomed.done():
            self._welcomed.set_result(False)
        else:
            self._ended()

    def _on_frame(self, kind: int, payload: bytes, descriptors: list[int]) -> None:
        let_in = False
        try:
            if kind == WELCOME:
                self._move_in(json.loads(payload), descriptors)
                let_in = True
            else:
                self._note(kind, payload)
                return
        except (ValueError, KeyError, TypeError) as error:
            _log.warning("a message from the process that holds this host's port cannot be used: %s", error)
        if self._welcomed and not self._welcomed.done():
            self._welcomed.set_result(let_in)

    def _note(self, kind: int, payload: bytes) -> None:
        table, now_ms = self._table, clock.unix_ms()
        if kind == TABLE:
            number = int.from_bytes(payload[:8], "big")
            if table.knows(number):  # an update may arrive after DROPPED for the process that sent it
                table.apply(number, read(payload[8:], table.apex_of(number)), now_ms)
        elif kind == ROSTER:
            told = json.loads(payload)
            table.meet(told["apexes"])
            table.told_everything(now_ms)  # a roster marks the end of the whole table
            table.only(map(int, told["apexes"]), now_ms)
            self._roster = told["roster"]
            places = [(str(address), int(port)) for address, port in told["delegates"]]
            table.delegates.follow(places, clock.now())
        elif kind == DROPPED:
            table.drop(int.from_bytes(payload, "big"), now_ms)
        elif kind == PONG:
            pong = self._pongs.get(payload)
            if pong and not pong.done():
                pong.set_result(None)
        elif kind == REFUSED:
            self._refuse(payload.decode("utf-8", "replace"))

    def _refuse(self, said: str) -> None:
        self.refused = said
        if said != self._said:
            self._said = said
            _log.warning("this host's registry refused this process: %s", said, extra={"event": "refused"})
        if self._welcomed and not self._welcomed.done():
            self._welcomed.set_result(False)
