"""Name servers that follow a script, on loopback addresses, in the test's own event loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
from loopback import address, free_port

from mddns.files.resolv_conf import Place

# Gets a query, and whether it came over TCP; returns what to send back.
Script = Callable[[dns.message.Message, bool], Iterable[bytes]]


class Upstream:
    """A name server that sends back what `script(query, tcp)` returns. Use it in an ``async with`` block."""

    def __init__(self, script: Script, *, with_tcp: bool = True) -> None:
        self.place = Place(address(), free_port())
        self.script = script
        self.asked: list[dns.message.Message] = []
        self.sources: list[tuple[str, int]] = []
        self.over_tcp = 0
        self._with_tcp = with_tcp
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._tcp: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._udp.setblocking(False)
        self._udp.bind(self.place)
        asyncio.get_running_loop().add_reader(self._udp.fileno(), self._read)
        if self._with_tcp:
            self._tcp = await asyncio.start_server(self._serve, *self.place)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.get_running_loop().remove_reader(self._udp.fileno())
        self._udp.close()
        if self._tcp:
            self._tcp.close()

    def names(self) -> list[str]:
        """The names of the queries received, in lower case, without probes for forwarding loops."""
        names = [str(query.question[0].name).lower().rstrip(".") for query in self.asked]
        return [name for name in names if not name.endswith(".test")]

    def _note(self, wire: bytes) -> dns.message.Message:
        query = dns.message.from_wire(wire)
        self.asked.append(query)
        return query

    def _read(self) -> None:
        for _ in range(8):  # a limit, so that other tasks of the same loop get their turn
            try:
                wire, source = self._udp.recvfrom(65535)
            except BlockingIOError:
                return
            except OSError:
                continue
            query = self._note(wire)
            if not str(query.question[0].name).lower().endswith(".test."):
                self.sources.append(source)
            for each in self.script(query, False):
                self._udp.sendto(each, source)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            size = await reader.readexactly(2)
            query = self._note(await reader.readexactly(int.from_bytes(size, "big")))
            self.over_tcp += 1
            for each in self.script(query, True):
                writer.write(len(each).to_bytes(2, "big") + each)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def answering(text: str = "60 IN A 192.0.2.1", rcode: str = "NOERROR", authority: str = "") -> Script:
    """A script that returns the same record for every name."""

    def script(query: dns.message.Message, tcp: bool) -> Iterable[bytes]:
        response = dns.message.make_response(query, recursion_available=True)
        response.set_rcode(dns.rcode.from_text(rcode))
        if text:
            ttl, rclass, kind, rest = text.split(None, 3)
            response.answer.append(dns.rrset.from_text(query.question[0].name, int(ttl), rclass, kind, rest))
        if authority:
            owner, ttl, rclass, kind, rest = authority.split(None, 4)
            response.authority.append(dns.rrset.from_text(owner, int(ttl), rclass, kind, rest))
        yield response.to_wire(max_size=65535)

    return script


def silent(query: dns.message.Message, tcp: bool) -> Iterable[bytes]:
    """A script that never responds."""
    return ()
