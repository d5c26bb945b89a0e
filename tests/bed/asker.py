"""Sends queries from one host to another without a pause, and keeps the result of each."""

from __future__ import annotations

import select
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import dns.flags
import dns.message
import dns.rcode

from .host import Host

EVERY = 0.020  # seconds between queries
LATEST = 3.0  # seconds after which a response is too late


@dataclass
class Heard:
    """The result of one query: the `ports` of the SRV records, or an error. ``kind`` is ``udp rd=0`` and so on."""

    sent: float
    back: float
    kind: str
    rcode: str
    ports: tuple[int, ...] = ()

    @property
    def answered(self) -> bool:
        """Whether there was a response of any kind."""
        return self.rcode not in ("none", "cut")


@dataclass
class Asker:
    """Queries ``web.minidisc`` SRV, with RD=0 and RD=1 in turn.

    Over UDP it sends a query every 20 ms, without waiting for responses; over TCP it uses one connection after the
    other.
    """

    asking: Host
    asked: Host
    heard: list[Heard] = field(default_factory=list)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Sends queries until the block ends."""
        stop = threading.Event()
        threads = [threading.Thread(target=work, args=(stop,)) for work in (self._udp, self._tcp)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    def told(self) -> str:
        """A line with the distribution of response times, and the queries without a response."""
        said = []
        for way in ("udp", "tcp"):
            heard = [each for each in self.heard if each.kind.startswith(way)]
            took = sorted(1000 * (each.back - each.sent) for each in heard if each.answered)
            missing = sum(not each.answered for each in heard)
            p99 = took[len(took) * 99 // 100]
            said.append(
                f"{way} {len(heard)} asked, {missing} {'unanswered' if way == 'udp' else 'cut'}, p50 "
                f"{statistics.median(took):.1f} ms, p99 {p99:.0f} ms, longest {took[-1]:.0f} ms"
            )
        return "; ".join(said)

    def _udp(self, stop: threading.Event) -> None:
        waiting: dict[int, tuple[float, str]] = {}
        number, due, until = 0, time.monotonic(), float("inf")
        address = self.asked.addresses[0]
        with self.asking.socket_udp(family=6 if ":" in address else 4, timeout=0) as sock:
            while time.monotonic() < until:
                now = time.monotonic()
                if stop.is_set():
                    until = min(until, now + LATEST if waiting else now)
                elif now >= due:
                    number = number % 65535 + 1
                    query = _query(number)
                    waiting[number] = now, f"udp rd={number % 2}"
                    sock.sendto(query, (address, 28004))
                    due = max(due + EVERY, now)
                if select.select([sock], [], [], max(0.0, min(due - now, EVERY)) if not stop.is_set() else EVERY)[0]:
                    reply = dns.message.from_wire(sock.recv(65535))
                    sent, kind = waiting.pop(reply.id)
                    self._keep(sent, kind, reply)
                elif stop.is_set() and not waiting:
                    break
        self.heard += [Heard(sent, float("inf"), kind, "none") for sent, kind in waiting.values()]

    def _tcp(self, stop: threading.Event) -> None:
        number = 0
        while not stop.wait(EVERY):
            number += 1
            sent, kind = time.monotonic(), f"tcp rd={number % 2}"
            try:
                reply = self._over_tcp(_query(number))
            except OSError:
                self.heard.append(Heard(sent, time.monotonic(), kind, "cut"))
            else:
                self._keep(sent, kind, reply)

    def _over_tcp(self, wire: bytes) -> dns.message.Message:
        with self.asking.connect_tcp(self.asked.addresses[0], timeout=LATEST) as sock, sock.makefile("rb") as file:
            sock.sendall(len(wire).to_bytes(2, "big") + wire)
            size = file.read(2)
            if len(size) < 2:
                raise ConnectionResetError
            return dns.message.from_wire(file.read(int.from_bytes(size, "big")))

    def _keep(self, sent: float, kind: str, reply: dns.message.Message) -> None:
        ports = tuple(sorted(record.port for rrset in reply.answer for record in rrset))
        self.heard.append(Heard(sent, time.monotonic(), kind, dns.rcode.to_text(reply.rcode()), ports))


def _query(number: int) -> bytes:
    query = dns.message.make_query("web.minidisc", "SRV", use_edns=0, payload=1232)
    query.id = number
    query.flags = dns.flags.RD if number % 2 else 0
    wire: bytes = query.to_wire()
    return wire


def faults(heard: list[Heard], must: Callable[[Heard], set[int]], must_not: Callable[[Heard], set[int]]) -> list[str]:
    """The faults of the responses: another rcode than NOERROR, missing services, and services that do not exist."""
    wrong = []
    for each in heard:
        if each.answered:
            missing, ghosts = must(each) - set(each.ports), must_not(each) & set(each.ports)
            double = len(each.ports) != len(set(each.ports))
            if each.rcode != "NOERROR" or missing or ghosts or double:
                wrong.append(f"{each} missing {sorted(missing)} ghosts {sorted(ghosts)}")
    return wrong
