"""The load generator in Python, for machines without a C compiler: with the arguments and the output of c/load.c.

It needs more CPU time for a query than many responders, so it mostly measures itself: see `generator_us`.
"""

from __future__ import annotations

import json
import random
import resource
import socket
import sys
import time
from pathlib import Path
from typing import Any, Final

from .corpus import Question, unpack

GIVE_UP: Final = 0.2  # seconds without a response, after which all queries in flight count as lost


def right(question: Question, asked: bytes, reply: bytes, *, echo: bool) -> bool:
    """Whether `reply` is the right response to `question`, which was sent as `asked`."""
    if echo:
        return reply == asked
    if len(reply) < question.end or reply[:2] != asked[:2]:
        return False
    flags = reply[2] << 8 | reply[3]
    # QR set, opcode 0, no TC: no response here is long.
    if flags & 0xFA00 != 0x8000 or flags & 0xF != question.rcode:
        return False
    counts = [reply[at] << 8 | reply[at + 1] for at in (4, 6, 10)]
    if counts[:2] != [1, question.ancount] or (question.opt and not counts[2]):
        return False
    return reply[12 : question.end] == question.octets[12 : question.end]


class Generator:
    """Sends queries to one responder."""

    def __init__(self, address: str, port: int, questions: list[Question], seed: int, *, echo: bool) -> None:
        self._questions = questions
        self._draw = random.Random(seed)
        self._echo = echo
        self._flying: dict[bytes, tuple[Question, bytes, float]] = {}
        self._latencies: list[float] = []
        self._octets = 0
        self.sent = self.received = self.bad = self.lost = 0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect((address, port))

    def by_window(self, window: int, seconds: float) -> None:
        """Sends queries, with at most `window` in flight."""
        end = time.monotonic() + seconds
        self._socket.settimeout(GIVE_UP)
        while (now := time.monotonic()) < end or self._flying:
            while now < end and len(self._flying) < window:
                self._ask(now)
            self._receive_or_lose()

    def by_rate(self, rate: float, seconds: float) -> None:
        """Sends `rate` queries a second; the latency of each counts from the time when it was due."""
        begun = due = time.monotonic()
        self._socket.setblocking(False)
        while (now := time.monotonic()) < begun + seconds:
            if now >= due:
                self._ask(due)
                due += 1 / rate
            try:
                self._judge(self._socket.recv(4096))
            except BlockingIOError:
                continue
        self._socket.settimeout(GIVE_UP)
        while self._flying:
            self._receive_or_lose()

    def close(self) -> None:
        """Closes the socket."""
        self._socket.close()

    def result(self, seconds: float) -> dict[str, Any]:
        """The results in the output format of c/load.c."""
        use = resource.getrusage(resource.RUSAGE_SELF)
        ordered = sorted(self._latencies) or [0.0]
        told = {
            f"p{name}_us": round(ordered[int(part * (len(ordered) - 1))] * 1e6, 1)
            for name, part in (("50", 0.5), ("99", 0.99), ("999", 0.999))
        }
        return {
            "sent": self.sent,
            "received": self.received,
            "bad": self.bad,
            "lost": self.lost,
            "seconds": seconds,
            "cpu_seconds": use.ru_utime + use.ru_stime,
            "mean_octets": round(self._octets / self.received, 1) if self.received else 0.0,
            **told,
        }

    def _ask(self, since: float) -> None:
        question = self._draw.choice(self._questions)
        ident = self._draw.randbytes(2)
        while ident in self._flying:
            ident = self._draw.randbytes(2)
        octets = ident + question.octets[2:]
        if question.cookie:
            octets = octets[: question.cookie] + self._draw.randbytes(8) + octets[question.cookie + 8 :]
        self._flying[ident] = question, octets, since
        self._socket.send(octets)
        self.sent += 1

    def _receive_or_lose(self) -> None:
        try:
            self._judge(self._socket.recv(4096))
        except TimeoutError:
            self.lost += len(self._flying)
            self._flying.clear()

    def _judge(self, reply: bytes) -> None:
        flying = self._flying.pop(reply[:2], None)
        if flying is None or not right(flying[0], flying[1], reply, echo=self._echo):
            self.bad += 1
            return
        self.received += 1
        self._octets += len(reply)
        self._latencies.append(time.monotonic() - flying[2])


def main(argv: list[str]) -> None:
    """``python -m bench.generator`` with the arguments of c/load.c."""
    address, port, corpus, seconds, mode, amount, seed, kind = argv
    questions = unpack(Path(corpus).read_bytes())
    generator = Generator(address, int(port), questions, int(seed), echo=kind == "echo")
    begun = time.monotonic()
    if mode == "rate":
        generator.by_rate(float(amount), float(seconds))
    else:
        generator.by_window(int(amount), float(seconds))
    generator.close()
    print(json.dumps(generator.result(time.monotonic() - begun)))


if __name__ == "__main__":
    main(sys.argv[1:])
