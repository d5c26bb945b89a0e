"""Many datagrams at a time: each is answered to whoever sent it, whether its answer was ready or not."""

from __future__ import annotations

import asyncio
import ctypes
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from loopback import address, free_port

import mddns.server.listeners
from mddns.responder.hot_answers import Kept, Ready
from mddns.server import udp_batch
from mddns.server.binding import bind_udp
from mddns.server.listeners import UdpListener
from mddns.server.udp_batch import OCTETS, SLOTS, Batch, Source

COUNT = {"udp": 0}
HERE = {4: ("127.0.0.1", "127.0.0.9"), 6: ("::1", "::1")}


def told(answer: bytes) -> Ready:
    return answer, COUNT


class Served:
    """A socket that is read in batches, and what its questions without a ready answer are."""

    def __init__(self, place: str) -> None:
        self.socket = bind_udp(place, 0)
        self.batch = Batch(self.socket, self._react)
        self.hot: dict[str, Kept] = {}
        self.seen: list[tuple[bytes, Source]] = []

    def _react(self, wire: bytes, source: Source) -> None:
        self.seen.append((wire, source))
        self.socket.sendto(wire[:2] + b"slow" + wire[2:], source)

    def serve(self) -> None:
        self.batch.serve(self.hot)


@pytest.fixture(params=[4, 6], ids=["IPv4", "IPv6"])
def family(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def served(family: int) -> Iterator[Served]:
    made = Served(HERE[family][0])
    yield made
    made.socket.close()


@pytest.fixture
def asker(served: Served, family: int) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET6 if family == 6 else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((HERE[family][1], 0))
        sock.connect(served.socket.getsockname())
        sock.settimeout(5)
        yield sock


def test_ready_answers_go_out_with_the_ids_of_their_questions(served: Served, asker: socket.socket) -> None:
    served.hot[asker.getsockname()[0]] = {b"?": told(b"!")}, {}
    for number in range(SLOTS):
        asker.send(number.to_bytes(2, "big") + b"?")
    before = COUNT["udp"]
    served.serve()
    assert COUNT["udp"] == before + SLOTS
    assert [asker.recv(100) for _ in range(SLOTS)] == [number.to_bytes(2, "big") + b"!" for number in range(SLOTS)]
    assert not served.seen


def test_a_question_with_a_cookie_finds_the_answer_that_is_ready_for_any(served: Served, asker: socket.socket) -> None:
    served.hot[asker.getsockname()[0]] = {}, {b"?": told(b"!")}
    for wire in (b"id?one-cook", b"id?two-cook", b"id?"):
        asker.send(wire)
        served.serve()
    assert [asker.recv(100) for _ in range(3)] == [b"id!", b"id!", b"idslow?"]


def test_ready_and_slow_answers_and_several_clients_are_kept_apart(served: Served, asker: socket.socket) -> None:
    served.hot[asker.getsockname()[0]] = {b"?": told(b"!")}, {}
    with socket.socket(asker.family, socket.SOCK_DGRAM) as other:
        other.connect(served.socket.getsockname())
        other.settimeout(5)
        for number in range(20):
            asker.send(bytes((0, number)) + (b"?" if number % 3 else b"slowly"))
            other.send(bytes((1, number)) + b"another")
        served.serve()
        got = sorted(asker.recv(100) for _ in range(20))
        assert got == [bytes((0, n)) + (b"!" if n % 3 else b"slowslowly") for n in range(20)]
        assert sorted(other.recv(100) for _ in range(20)) == [bytes((1, n)) + b"slowanother" for n in range(20)]


def test_the_source_is_as_recvfrom_gives_it(served: Served, asker: socket.socket) -> None:
    asker.send(b"id?")
    served.serve()
    assert served.seen == [(b"id?", asker.getsockname())]


def test_no_more_than_the_slots_are_read_at_a_time(served: Served, asker: socket.socket) -> None:
    for _ in range(SLOTS + 1):
        asker.send(b"id?")
    served.serve()
    assert len(served.seen) == SLOTS
    served.serve()
    assert len(served.seen) == SLOTS + 1
    served.serve()
    assert len(served.seen) == SLOTS + 1


@pytest.mark.parametrize("wire", [b"", b"i", b"id", b"x" * OCTETS, b"x" * (OCTETS + 1), b"x" * 5000], ids=len)
def test_odd_sizes_are_neither_lost_nor_mixed_up(served: Served, asker: socket.socket, wire: bytes) -> None:
    """What is larger than any honest question is cut, as what follows in it cannot be a question's."""
    served.hot[asker.getsockname()[0]] = {b"?": told(b"!")}, {}
    for each in (b"id?", wire, b"id?"):
        asker.send(each)
    served.serve()
    assert [each for each, _ in served.seen] == [wire[:OCTETS]]
    assert len([asker.recv(9000) for _ in range(3)]) == 3


def test_a_ready_answer_that_no_slot_holds_is_the_callers_to_give(served: Served, asker: socket.socket) -> None:
    served.hot[asker.getsockname()[0]] = {b"?": told(b"!" * OCTETS), b"+": told(b"!" * (OCTETS + 1))}, {}
    asker.send(b"id?")
    asker.send(b"id+")
    served.serve()
    assert [len(asker.recv(9000)) for _ in range(2)] == [OCTETS + 2, 7]


def test_an_answer_that_cannot_be_sent_takes_no_other_with_it(served: Served, asker: socket.socket) -> None:
    """Port 0 takes nothing: the kernel refuses that datagram alone."""
    served.hot[asker.getsockname()[0]] = {b"?": told(b"!")}, {}
    real = served.batch._receive

    def spoiling(*arguments: Any) -> int:
        count = int(real(*arguments))
        size = served.batch._name_size
        ctypes.memset(ctypes.addressof(served.batch._names) + size + 2, 0, 2)  # the second one's port
        return count

    vars(served.batch)["_receive"] = spoiling
    for number in range(4):
        asker.send(bytes((0, number)) + b"?")
    served.serve()
    assert [asker.recv(100) for _ in range(3)] == [b"\0\0!", b"\0\2!", b"\0\3!"]


def test_the_addresses_that_it_remembers_are_bounded(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(udp_batch, "_MOST_KNOWN", 3)
    if served.socket.family != socket.AF_INET:
        return
    for number in range(10):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind((f"127.0.1.{number + 1}", 0))
            sock.sendto(b"id?", served.socket.getsockname())
            served.serve()
        assert len(served.batch._known) <= 3
    assert [source[0] for _, source in served.seen] == [f"127.0.1.{number + 1}" for number in range(10)]


def listened(count: int) -> tuple[list[bytes], UdpListener]:
    """What a listener answers to `count` questions that come faster than it reads."""

    async def main() -> tuple[list[bytes], UdpListener]:
        place = address(), free_port()
        sock = bind_udp(*place)
        hot: dict[str, Kept] = {"127.0.0.1": ({b"?": told(b"!")}, {})}
        loop = asyncio.get_running_loop()
        udp = UdpListener(sock, lambda wire, source, tcp: wire + b"slow", lambda: hot, loop, lambda: True)
        got = []
        with sock, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
            asker.bind(("127.0.0.1", 0))
            asker.connect(place)
            asker.setblocking(False)
            for begun in range(0, count, 100):
                for number in range(begun, begun + 100):
                    asker.send(number.to_bytes(2, "big") + (b"?" if number % 10 else b"+"))
                for _ in range(100):
                    got.append(await asyncio.wait_for(loop.sock_recv(asker, 100), 5))
            udp.close()
        return got, udp

    return asyncio.run(main())


def test_a_listener_reads_so_once_it_is_busy_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mddns.server.listeners, "_BUSY", 100)
    got, udp = listened(1000)
    assert udp._batch is not None
    assert sorted(got) == [n.to_bytes(2, "big") + (b"!" if n % 10 else b"+slow") for n in range(1000)]


def test_a_listener_that_is_asked_now_and_then_does_not() -> None:
    assert listened(100)[1]._batch is None


def test_where_the_system_has_no_such_calls_a_listener_goes_on_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(mddns.server.listeners, "_BUSY", 100)
    monkeypatch.setattr(ctypes, "CDLL", asked.append)  # None, which has no attributes
    got, udp = listened(1000)
    assert udp._batch is None
    assert len(got) == 1000
    assert len(asked) == 1
