"""A DNS Push session with one host: it keeps a copy of the host's zone up to date.

DNS Push has no subscription to a zone. So the client subscribes to the SOA of the apex (RFC 8765 6.2), and requests an
incremental transfer (RFC 1995) on the same connection whenever the SOA changes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Final

from ..base.errors import BadMessage
from ..base.names import Name
from ..dns.dso import Fatal, framed, retry_after
from ..dns.dso_client import Answered, Asked, ClientSession, Event, GoAway, Ordinary, Told
from ..dns.message import IN, NOERROR, SOA
from ..dns.writer import random_ids
from ..responder.push_subscriptions import KINDS, PUSH, SUBSCRIBE, Kind, read_push, subscription
from ..system import clock
from ..system.connection_limits import reset
from ..zone.secondary import Progress, Secondary

CONNECT_WITHIN: Final = 1.0  # seconds, for each address
TRANSFER_WITHIN: Final = 10.0
# Seconds without a session at most, whatever retry delay a host sent: later another process may hold its port, and
# accept us.
LONGEST_REFUSAL: Final = 300.0
MOST_UNSENT: Final = 64 << 10  # octets of our responses that wait for a host to read them
_SERIAL_AND_TIMERS: Final = 20  # octets at the end of an SOA record (RFC 1035 3.3.13)
_AT_ONCE: Final = 65_536


class PushClient:
    """Follows the zone at `apex` of one host, over the first of its `addresses` that accepts a connection.

    ``changed()`` is called when `copy` has the whole zone, and after each change of it. `own`: it is our own host.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        port: int,
        copy: Secondary,
        apex: Name,
        changed: Callable[[], None],
        *,
        own: bool = False,
    ) -> None:
        self.connected = False  # whether a connection was ever open
        self.refused: float | None = None  # seconds for which the host refuses sessions; None if it does not
        self._addresses = addresses
        self._port = port
        self._copy = copy
        self._apex = apex
        self._changed = changed
        self._own = own
        self._client = ClientSession(lambda: random_ids(1)[0], clock.now(), KINDS)
        self._writer: asyncio.StreamWriter | None = None
        self._asked: int | None = None  # the id of the transfer that runs
        self._asked_at = 0.0
        self._behind = False  # over UDP the host answered with a new serial, which no transfer has followed yet
        self._again = False
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0  # when the timer fires
        self._told = False  # whether ``changed()`` was called in this session

    async def run(self) -> None:
        """Runs the session to its end. Raises OSError if it fails, BadMessage if the host breaks the protocol."""
        reader, self._writer = await self._connect()
        self.connected = True
        try:
            _, octets = self._client.request(SUBSCRIBE, subscription(self._apex.wire, SOA), clock.now())
            self._writer.write(octets)
            self.refresh()
            while self.refused is None and (octets := await reader.read(_AT_ONCE)):
                for event in self._client.feed(octets, clock.now()):
                    self._on(event)
                self._wait()
        except BadMessage:
            reset(self._writer.transport)
            raise
        finally:
            if self._timer:
                self._timer.cancel()
            self._writer.transport.abort()
            self._writer = None

    def fileno(self) -> int:
        """Returns the connection's file descriptor; -1 without a connection."""
        sock = self._writer.get_extra_info("socket") if self._writer else None
        return sock.fileno() if sock else -1

    @property
    def waits(self) -> bool:
        """Whether a transfer was requested and has not ended yet."""
        return self._asked is not None

    def told(self, serial: int) -> bool:
        """Takes the serial that the host sent over UDP, and requests a transfer if it is new.

        Returns True if the caller has to query the serial again soon, should this session still be in :attr:`waits`.

        A stopped process keeps its connections, while another process of the host holds the port. So the session is
        ended if a second answer over UDP has a new serial while the transfer requested after the first is still not
        answered: then the process at the other end of the connection is not the one that answers over UDP.
        """
        if self._writer is None or serial == self._copy.serial:
            return False
        if self._behind and self._asked is not None:
            self._writer.transport.abort()
            return False
        self._behind = True
        self.refresh(serial)
        return True

    def refresh(self, serial: int | None = None) -> None:
        """Requests a transfer, as the zone may have changed. Does nothing if the copy has `serial` already."""
        if self._writer is None or (serial is not None and serial == self._copy.serial):
            return
        if self._asked is not None:
            self._again = True
            return
        self._again = False
        self._asked, self._asked_at = self._client.lend_id(), clock.now()
        self._writer.write(framed(self._copy.ask(self._asked)))
        self._client.sent(clock.now())
        self._wait()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        for address in self._addresses[:-1]:
            with contextlib.suppress(OSError):
                return await self._open(address)
        return await self._open(self._addresses[-1])

    async def _open(self, address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        # A holder recognizes the programs of its own host by their source address.
        source = (address, 0) if self._own else None
        async with asyncio.timeout(CONNECT_WITHIN):
            return await asyncio.open_connection(address, self._port, local_addr=source)

    def _wait(self) -> None:
        """Sets the timer for what is due next. If that moves to a later time, the timer fires and is set again."""
        due = self._client.timer()
        if self._asked is not None:
            due = min(due, self._asked_at + TRANSFER_WITHIN)
        if self._timer is None or due < self._due:
            if self._timer:
                self._timer.cancel()
            self._due = due
            delay = max(0.0, due - clock.now()) + 0.01
            self._timer = asyncio.get_running_loop().call_later(delay, self._look)

    def _look(self) -> None:
        """Ends the session if the host is silent for too long; sends a keepalive if this side is."""
        self._timer, now = None, clock.now()
        if self._writer is None:
            return
        late = self._asked is not None and now > self._asked_at + TRANSFER_WITHIN
        if late or self._client.silent(now):
            reset(self._writer.transport)
            return
        if keepalive := self._client.due(now):
            self._writer.write(keepalive)
        self._wait()

    def _on(self, event: Event) -> None:
        if isinstance(event, Ordinary):
            self._transferred(event.wire)
        elif isinstance(event, Told):
            if event.tlv.kind != PUSH:
                raise Fatal("a message without an ID that is not a PUSH")
            self._pushed(event)
        elif isinstance(event, Asked):
            self._answer(event)
        elif isinstance(event, Answered):
            if event.rcode != NOERROR:
                self._refuse(retry_after(event.rcode) if event.retry is None else event.retry)
        elif isinstance(event, GoAway):
            self._refuse(event.seconds)

    def _answer(self, event: Asked) -> None:
        if self._writer is None:
            return
        self._writer.write(event.answer)
        self._client.sent(clock.now())
        if self._writer.transport.get_write_buffer_size() > MOST_UNSENT:
            raise BadMessage("it sends requests and does not read the answers")

    def _refuse(self, seconds: float) -> None:
        self.refused = min(seconds, LONGEST_REFUSAL)

    def _pushed(self, event: Told) -> None:
        for change in read_push(event.tlv, event.wire):
            # A change that matches no subscription is ignored (RFC 8765 6.3.1).
            if change.owner.lower() != self._apex.key or (change.rtype, change.rclass) != (SOA, IN):
                continue
            if change.kind is Kind.ADD and len(change.rdata) > _SERIAL_AND_TIMERS:
                self.refresh(int.from_bytes(change.rdata[-_SERIAL_AND_TIMERS:][:4], "big"))

    def _transferred(self, wire: bytes) -> None:
        if wire[0] << 8 | wire[1] != self._asked:
            raise BadMessage("an answer whose ID belongs to no query")
        self._asked_at, self._behind = clock.now(), False
        progress = self._copy.feed(wire)
        if progress is Progress.MORE:
            return
        self._client.free(wire[0] << 8 | wire[1])
        self._asked = None
        if progress is Progress.CHANGED or (progress is Progress.CURRENT and not self._told):
            self._told = True
            self._changed()
        if self._again or progress is Progress.ASK_WHOLE:
            self.refresh()
