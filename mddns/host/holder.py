"""The holder's side of the Unix socket: admits tenants, stores what they register, sends all changes to all tenants."""

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

HELLO_WITHIN: Final = 3.0  # seconds after it connects in which a process must send HELLO


def _most_tenants() -> int:
    """The limit of connections: half of this process's descriptors, as its program needs some too; at most 1,000."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1_000 if soft == resource.RLIM_INFINITY else min(1_000, soft // 2)


class HolderSide:
    """The tenants of this process, while it is the holder.

    `welcome()` returns the content of WELCOME, a tenant's first frame, and the descriptors that go with it;
    `changed()` is called when the host's table has changed.
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
        self._lines: set[Line] = set()  # also those that have not sent HELLO yet
        self._tenants: dict[int, Line] = {}

    def admit(self, sock: socket.socket) -> None:
        """Takes over an accepted connection. It becomes a tenant when it sends HELLO."""
        number: list[int] = []
        moving: list[bool] = []

        def on_frame(kind: int, payload: bytes, descriptors: list[int]) -> None:
            for descriptor in descriptors:
                os.close(descriptor)  # tenants have no descriptors to send
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
                if moving:  # it took us for silent, and will join again in a moment
                    self._table.awaits(number[0], time.monotonic())
                elif self._table.drop(number[0], clock.unix_ms()):
                    self._dropped(number[0])
                self._send_roster()

        loop = asyncio.get_running_loop()
        line = Line(sock, loop, on_frame, on_end)
        self._lines.add(line)
        # A connection without HELLO, or above the limit, must not occupy a descriptor for long.
        within = HELLO_WITHIN if len(self._lines) <= _most_tenants() else 0.0
        loop.call_later(within, lambda: None if number else self._show_out(line))

    def tell(self, update: bytes) -> None:
        """Sends all tenants an `update` of our own services."""
        self._broadcast(TABLE, self._table.number.to_bytes(8, "big") + update)

    def tell_of_neighbours(self, update: bytes) -> None:
        """Sends all tenants an `update` of the services of Minidisc's programs on this host."""
        self._broadcast(TABLE, NEIGHBOURS.to_bytes(8, "big") + update)

    def tell_roster(self) -> None:
        """Sends all tenants the current list of our tenants and of Minidisc's delegates."""
        self._send_roster()

    def hand_over(self) -> None:
        """Sends every tenant all our sockets again, and the whole table."""
        for line in list(self._tenants.values()):
            self._tell_all(line)
        self._send_roster()

    def expire(self, now: float) -> None:
        """Drops the processes that did not register again in time after we took over; ended ones without waiting."""
        unconfirmed = self._table.unconfirmed
        if not unconfirmed:
            return
        ended = {number for number, life in unconfirmed.items() if has_ended(life)}
        for number in self._table.expire(now, clock.unix_ms(), self._tenants, ended):
            self._dropped(number)

    @property
    def occupied(self) -> bool:
        """Whether there are connections, or processes that are expected to register again."""
        return bool(self._lines or self._table.unconfirmed)

    def descriptors(self) -> list[int]:
        """The file descriptors of all connections."""
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
            raise ValueError("the first message must be HELLO")
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
        """Sends our sockets and the whole table to a tenant. The caller must send a roster next: it marks the end."""
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
        f"it uses version {VERSION} of the protocol between the mddns programs of a host, this program uses version "
        f"{newest}: end {whose}, or upgrade its mddns"
    )
