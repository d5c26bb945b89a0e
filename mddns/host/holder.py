"""The holder's side of the Unix socket: takes tenants in, keeps what they register, tells all of them everything."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import socket
import time
from collections.abc import Callable
from typing import Any, Final

from ..base.errors import BadMessage
from ..base.names import Name
from ..codec.update import read, updates
from ..registry.host_table import NEIGHBOURS, HostTable
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
    has_ended,
)

HELLO_WITHIN: Final = 3.0  # seconds in which a process says who it is


def _most_tenants() -> int:
    """They may take half of the descriptors that this process may have, not those of its program."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1_000 if soft == resource.RLIM_INFINITY else min(1_000, soft // 2)


class HolderSide:
    """The tenants of this process, while it is the holder.

    `welcome()` gives what a tenant is told first, and the descriptors that it is handed; `changed()` is
    called when the host's table has changed.
    """

    def __init__(
        self,
        table: HostTable,
        welcome: Callable[[], tuple[dict[str, Any], list[int]]],
        changed: Callable[[], None],
    ) -> None:
        self._table = table
        self._welcome = welcome
        self._changed = changed
        self._lines: set[Line] = set()  # also of those that have not said yet who they are
        self._tenants: dict[int, Line] = {}

    def admit(self, sock: socket.socket) -> None:
        """Somebody has connected."""
        number: list[int] = []
        moving: list[bool] = []

        def on_frame(kind: int, payload: bytes, descriptors: list[int]) -> None:
            for descriptor in descriptors:
                os.close(descriptor)  # nobody has to hand us anything
            if kind == MOVING:
                moving.append(True)
            try:
                self._take(line, number, kind, payload)
            except (BadMessage, ValueError, KeyError, TypeError) as error:
                line.send(REFUSED, str(error).encode())

        def on_end() -> None:
            self._lines.discard(line)
            if number and self._tenants.get(number[0]) is line:
                del self._tenants[number[0]]
                if moving:  # it thought that we are silent, and finds in a moment that we are not
                    self._table.awaits(number[0], time.monotonic())
                elif self._table.drop(number[0], clock.unix_ms()):
                    self._dropped(number[0])
                self._send_roster()

        loop = asyncio.get_running_loop()
        line = Line(sock, loop, on_frame, on_end)
        self._lines.add(line)
        # Who says nothing, or comes when there are too many, takes no descriptor for long.
        within = HELLO_WITHIN if len(self._lines) <= _most_tenants() else 0.0
        loop.call_later(within, lambda: None if number else self._show_out(line))

    def tell(self, update: bytes) -> None:
        """One of our own services has changed: `update` says how."""
        self._broadcast(TABLE, self._table.number.to_bytes(8, "big") + update)

    def tell_of_neighbours(self, update: bytes) -> None:
        """What Minidisc's programs on this host offer has changed: `update` says how."""
        self._broadcast(TABLE, NEIGHBOURS.to_bytes(8, "big") + update)

    def tell_roster(self) -> None:
        """Who our tenants and Minidisc's delegates are, anew."""
        self._send_roster()

    def hand_over(self) -> None:
        """Gives every tenant our sockets anew."""
        for line in list(self._tenants.values()):
            self._tell_all(line)
        self._send_roster()

    def expire(self, now: float) -> None:
        """Drops those who did not register anew after we took over: at once where they have ended."""
        unconfirmed = self._table.unconfirmed
        if not unconfirmed:
            return
        ended = {number for number, life in unconfirmed.items() if has_ended(life)}
        for number in self._table.expire(now, clock.unix_ms(), self._tenants, ended):
            self._dropped(number)

    @property
    def occupied(self) -> bool:
        """Whether anybody is here, or is expected to come back."""
        return bool(self._lines or self._table.unconfirmed)

    def descriptors(self) -> list[int]:
        """Those of all connections."""
        return [line.fileno() for line in self._lines]

    def close(self) -> None:
        """Ends every connection."""
        for line in self._lines:
            line.close()
        self._lines.clear()
        self._tenants.clear()

    def _show_out(self, line: Line) -> None:
        line.close()
        self._lines.discard(line)

    def _take(self, line: Line, number: list[int], kind: int, payload: bytes) -> None:
        if kind == HELLO and not number:
            self._greet(line, number, json.loads(payload))
        elif not number:
            raise ValueError("HELLO comes first")
        elif kind == UPDATE:
            self._table.apply(number[0], read(payload, self._table.apex_of(number[0])), clock.unix_ms())
            self._broadcast(TABLE, number[0].to_bytes(8, "big") + payload)
            self._changed()
        elif kind == TOLD_ALL:
            self._table.told_all(number[0], clock.unix_ms())
            self._changed()
        elif kind == PING:
            line.send(PONG, payload)

    def _greet(self, line: Line, number: list[int], hello: dict[str, Any]) -> None:
        newest = int(hello["version"])
        if newest < OLDEST or int(hello.get("oldest", newest)) > VERSION:
            line.send(REFUSED, _strangers(newest).encode())
            return
        told, apex = int(hello["number"]), Name.parse(hello["apex"])
        number.append(told)
        before = self._tenants.pop(number[0], None)
        if before:
            self._show_out(before)
        self._tenants[number[0]] = line
        self._table.let_in(told, apex, str(hello.get("life", "")))
        self._tell_all(line)
        self._send_roster()
        self._changed()

    def _tell_all(self, line: Line) -> None:
        """Hands our sockets to a tenant, and tells it the whole table; a roster must follow, which ends it."""
        told, descriptors = self._welcome()
        line.send(WELCOME, json.dumps(told).encode(), descriptors)
        for process in (self._table.number, *self._table.processes):
            for update in updates(self._table.of(process), (), self._table.apex_of(process)):
                line.send(TABLE, process.to_bytes(8, "big") + update)

    def _dropped(self, number: int) -> None:
        self._broadcast(DROPPED, number.to_bytes(8, "big"))
        self._changed()

    def _send_roster(self) -> None:
        told = {
            "roster": list(self._tenants),
            "apexes": self._table.introduced(),
            "delegates": self._table.delegates.places,
        }
        self._broadcast(ROSTER, json.dumps(told).encode())

    def _broadcast(self, kind: int, payload: bytes) -> None:
        for line in list(self._tenants.values()):
            line.send(kind, payload)


def _strangers(newest: int) -> str:
    whose = "it" if newest > VERSION else "this program"
    return (
        f"it speaks version {VERSION} of what a host's programs say to each other, this program version {newest}: "
        f"end {whose}, or upgrade its mddns"
    )
