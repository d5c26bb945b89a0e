"""A session with one host that tells of each change of its zone, and the copy of the zone that it keeps up to date.

DNS Push has no subscription to a zone: we subscribe to the SOA of the apex (RFC 8765 6.2), and ask for the
differences (RFC 1995) on the same connection whenever that is another.
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
# Seconds without a session, whatever a host says: it may be another program of it that has one for us.
LONGEST_REFUSAL: Final = 300.0
MOST_UNSENT: Final = 64 << 10  # octets of answers that a host does not read
_SERIAL_AND_TIMERS: Final = 20  # octets at the end of an SOA record (RFC 1035 3.3.13)
_AT_ONCE: Final = 65_536


class PushClient:
    """Follows the zone at `apex` of the host at `addresses`, of which the first that accepts is used.

    ``changed()`` is called when `copy` has the whole zone, and whenever that changes. `own`: the host is ours.
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
        self.connected = False  # whether there ever was a connection
        self.refused: float | None = None  # seconds for which the host has no session for us
        self._addresses = addresses
        self._port = port
        self._copy = copy
        self._apex = apex
        self._changed = changed
        self._own = own
        self._client = ClientSession(lambda: random_ids(1)[0], clock.now(), KINDS)
        self._writer: asyncio.StreamWriter | None = None
        self._asked: int | None = None  # the id of a transfer under way
        self._asked_at = 0.0
        self._behind = False  # the host has said over UDP that there is news, and nothing came of it yet
        self._again = False
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0  # when it is up
        self._told = False  # whether anything was told in this session

    async def run(self) -> None:
        """Returns when the session has ended. OSError: there was none; BadMessage: the host talks nonsense."""
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
        """The connection's descriptor; -1 where there is none."""
        sock = self._writer.get_extra_info("socket") if self._writer else None
        return sock.fileno() if sock else -1

    @property
    def waits(self) -> bool:
        """Whether something was asked by TCP and has not been answered yet."""
        return self._asked is not None

    def told(self, serial: int) -> bool:
        """The host has said over UDP which serial its zone has. True where it is to be asked again soon, if by then
        this session :attr:`waits`.

        A stopped process keeps its connections, while another of its host answers in its place. Whoever says by UDP
        that there is news, later than we have asked for that by TCP, and has not said it there, is not who we talk to.
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
        """The zone may have changed: `serial` is its serial by now, where that is known."""
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
        # A holder knows the programs of its own host by where they come from.
        source = (address, 0) if self._own else None
        async with asyncio.timeout(CONNECT_WITHIN):
            return await asyncio.open_connection(address, self._port, local_addr=source)

    def _wait(self) -> None:
        """Sees to it that what is due is done in time; a moment that has moved on is looked at when the timer is up."""
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
        """Ends the session where the host is silent; keeps it alive where we are."""
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
                raise Fatal("a message without id that only a client sends, or nobody")
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
            raise BadMessage("asks and does not read the answers")

    def _refuse(self, seconds: float) -> None:
        self.refused = min(seconds, LONGEST_REFUSAL)

    def _pushed(self, event: Told) -> None:
        for change in read_push(event.tlv, event.wire):
            # What answers to no subscription of ours is passed over (RFC 8765 6.3.1).
            if change.owner.lower() != self._apex.key or (change.rtype, change.rclass) != (SOA, IN):
                continue
            if change.kind is Kind.ADD and len(change.rdata) > _SERIAL_AND_TIMERS:
                self.refresh(int.from_bytes(change.rdata[-_SERIAL_AND_TIMERS:][:4], "big"))

    def _transferred(self, wire: bytes) -> None:
        if wire[0] << 8 | wire[1] != self._asked:
            raise BadMessage("an answer that nobody has asked for")
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
