"""A client of DNS Push Notifications (RFC 8765) on a real connection."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import Self

from mddns.base.names import Name
from mddns.dns.dso_client import ClientSession, Event, Told
from mddns.node import Node
from mddns.responder.push_subscriptions import SUBSCRIBE, Change, read_push, subscription


class Watcher:
    """A client with one session to a node."""

    def __init__(self, node: Node, source: str) -> None:
        self.node = node
        self.source = source
        self.session = ClientSession(itertools.count(1).__next__, time.monotonic())
        self.events: list[Event] = []
        self.ended = False

    async def __aenter__(self) -> Self:
        me = self.node.me
        self.reader, self.writer = await asyncio.open_connection(me.addresses[0], me.port, local_addr=(self.source, 0))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()

    def subscribe(self, name: str, qtype: int) -> int:
        data = subscription(Name.parse(name).wire, qtype)
        ident, octets = self.session.request(SUBSCRIBE, data, time.monotonic())
        self.writer.write(octets)
        return ident

    async def next(self) -> Event:
        """Reads the next message. EOFError if the connection has ended."""
        while not self.events:
            try:
                octets = await self.reader.read(65536)
            except ConnectionError:
                octets = b""
            if not octets:
                raise EOFError
            self.events += self.session.feed(octets, time.monotonic())
        return self.events.pop(0)

    async def changes(self) -> list[Change]:
        event = await self.next()
        assert isinstance(event, Told)
        return read_push(event.tlv, event.wire)
