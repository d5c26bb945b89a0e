"""Health checks, and probes whether a service answers over IPv6: one task for each registration that needs either.

Without a health check only IPv6 is probed, at growing intervals. A program that listens on 0.0.0.0 answers over IPv4
only; an IPv6 address for it would send clients to a closed port.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from typing import Final, NamedTuple

from ..base.health_check import Check
from ..base.model import join_address
from ..registry.health_verdict import Vitality
from ..registry.registry import Registration

_TIMEOUT: Final = 0.5  # seconds; short, as the service runs on this machine
_FIRST_PAUSE: Final = 0.25
_LONGEST_PAUSE: Final = 60.0
_MOST_OF_A_BODY: Final = 64 << 10  # octets that are searched for a text


class Target(NamedTuple):
    """What to probe: `address` and `port` for the check, and `six`, our IPv6 address, if it needs a probe."""

    check: Check | None
    address: str
    port: int
    six: str | None


class Health:
    """Watches registrations.

    Calls `checked(registration, reason)` when the reason to hold a service back changes ("" for none), and
    `six(registration, answers)` after each probe over IPv6.
    """

    def __init__(self, checked: Callable[[Registration, str], None], six: Callable[[Registration, bool], None]) -> None:
        self._checked = checked
        self._six = six
        self._watches: dict[Registration, tuple[Target, asyncio.Task[None]]] = {}

    def watch(self, registration: Registration, target: Target) -> None:
        """Watches a registration at `target`, instead of an earlier target. Stops if `target` needs no probe."""
        known = self._watches.get(registration)
        if known and known[0] == target:
            return
        self.forget(registration)
        if target.check or target.six:
            task = asyncio.get_running_loop().create_task(self._watch(registration, target))
            self._watches[registration] = target, task

    def forget(self, registration: Registration) -> None:
        """Stops watching a registration."""
        if known := self._watches.pop(registration, None):
            known[1].cancel()

    async def close(self) -> None:
        """Stops watching all registrations."""
        tasks = [task for _, task in self._watches.values()]
        self._watches.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self, registration: Registration, target: Target) -> None:
        vitality = Vitality(target.check) if target.check else None
        pause = _FIRST_PAUSE
        while True:
            problem = None
            if vitality and target.check:
                problem = await probe(target.check, target.address, target.port)
                if vitality.result(problem):
                    self._checked(registration, vitality.held)
            if target.six:
                answers = problem is None and await connects(target.six, registration.offer.port, _TIMEOUT) is None
                self._six(registration, answers)
            await asyncio.sleep(vitality.pause if vitality else pause)
            pause = min(2 * pause, _LONGEST_PAUSE)


async def probe(check: Check, address: str, port: int) -> str | None:
    """Checks once. Returns None if the check passes, else a short reason."""
    if check.path is None:
        return await connects(address, port, check.timeout)
    try:
        async with asyncio.timeout(check.timeout):
            return await _get(check, check.path, address, port)
    except TimeoutError:
        return f"{join_address(address, port)} did not answer within {check.timeout:g} s"
    except OSError as error:
        return f"{join_address(address, port)}: {os.strerror(error.errno) if error.errno else error}"


async def connects(address: str, port: int, timeout: float) -> str | None:
    """Opens a TCP connection. Returns None if it is accepted, else a short reason."""
    shown = join_address(address, port)
    try:
        async with asyncio.timeout(timeout):
            _, writer = await asyncio.open_connection(address, port)
    except TimeoutError:
        return f"{shown} did not answer within {timeout:g} s"
    except OSError as error:
        return f"{shown}: {os.strerror(error.errno) if error.errno else error}"
    # A connection to an ephemeral port can get that port as its source: it is connected to itself, without a listener.
    alone = writer.get_extra_info("sockname")[:2] == writer.get_extra_info("peername")[:2]
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return f"{shown}: no program listens there" if alone else None


async def _get(check: Check, path: str, address: str, port: int) -> str | None:
    import h11  # only HTTP checks need it

    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=16 << 10)
    headers = [("Host", join_address(address, port)), ("User-Agent", "mddns"), ("Connection", "close")]
    request = connection.send(h11.Request(method="GET", target=path, headers=headers))
    reader, writer = await asyncio.open_connection(address, port, limit=16 << 10)
    try:
        writer.write(request or b"")
        writer.write(connection.send(h11.EndOfMessage()) or b"")
        body = bytearray()
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await reader.read(16 << 10))
            elif isinstance(event, h11.Response):
                status = event.status_code
                if status != check.status if check.status else not 200 <= status < 300:
                    return f"status {status}"
                if not check.text:
                    return None
            elif isinstance(event, h11.Data):
                body += event.data
                if check.text.encode() in body:
                    return None
                if len(body) > _MOST_OF_A_BODY:
                    break
            elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
                break
        return f"no {check.text[:60]!r} in the response"
    except h11.ProtocolError as error:
        return f"{join_address(address, port)} does not speak HTTP: {error}"
    finally:
        writer.close()


def accepts(address: str, port: int, timeout: float) -> bool:
    """Whether a TCP connection is accepted. As :func:`connects`, but blocking."""
    try:
        with socket.create_connection((address, port), timeout) as connection:
            # Not connected to itself: see connects().
            return bool(connection.getsockname() != connection.getpeername())
    except OSError:
        return False
