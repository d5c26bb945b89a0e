"""Many questions with one system call, and answers matched by source and id. Lookups with it: test_transport."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator

import pytest
from bed.process import wait_until
from loopback import fleet
from played import APEX

from mddns.base.model import Peer
from mddns.base.names import Name
from mddns.directory.peer_memory import Standing
from mddns.dns.message import SRV
from mddns.lookup import sockets
from mddns.lookup.asked_peer import Ask, Outcome
from mddns.lookup.burst import OCTETS, Volley
from mddns.lookup.fanout import Lookup

REST = b"\0\0the same for all"


def ask(peer: Peer, number: int) -> Ask:
    return Ask(peer, Standing.NEW, number.to_bytes(2, "big"))


@contextlib.contextmanager
def bound(peers: tuple[Peer, ...]) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        socks = []
        for each in peers:
            sock = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            sock.bind((each.addresses[0], each.port))
            sock.settimeout(5.0)
            socks.append(sock)
        yield socks


@pytest.fixture
def sock() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.setblocking(False)
        made.bind(("127.0.0.1", 0))
        yield made


def test_each_is_asked_with_its_own_id_and_all_the_same(sock: socket.socket) -> None:
    peers = fleet(150)
    asks = [ask(each, 1000 + number) for number, each in enumerate(peers)]
    with bound(peers) as there:
        assert not Volley(sock, REST).send(asks)
        assert [each.recv(100) for each in there] == [one.ident + REST for one in asks]


def test_an_answer_is_its_asks_where_source_and_id_are_right(sock: socket.socket) -> None:
    peers = fleet(3)
    asks = [ask(each, 7 + number) for number, each in enumerate(peers)]
    volley = Volley(sock, REST)
    with bound(peers) as there:
        volley.send(asks)
        where = sock.getsockname()
        there[0].sendto(asks[0].ident + b"its own", where)
        there[1].sendto(asks[0].ident + b"of another", where)
        there[2].sendto(b"", where)
        there[2].sendto(b"x" * 2000, where)
        _, answers, others = taken(volley, 4)
    assert answers == [(asks[0], asks[0].ident + b"its own")]
    assert [(wire, address, port) for wire, address, port in others] == [
        (asks[0].ident + b"of another", peers[1].addresses[0], peers[1].port),
        (b"", peers[2].addresses[0], peers[2].port),
        (b"x" * OCTETS, peers[2].addresses[0], peers[2].port),
    ]


def taken(volley: Volley, count: int) -> tuple[int, list[tuple[Ask, bytes]], list[tuple[bytes, str, int]]]:
    answers: list[tuple[Ask, bytes]] = []
    others: list[tuple[bytes, str, int]] = []
    number = 0

    def all_there() -> bool:
        nonlocal number
        some, known, strange = volley.receive()
        number += some
        answers.extend(known)
        others.extend(strange)
        return number >= count

    wait_until(all_there, 5.0)
    return number, answers, others


def test_where_nothing_is_there_it_gives_nothing(sock: socket.socket) -> None:
    assert volley_of(sock).receive()[0] == 0


def volley_of(sock: socket.socket) -> Volley:
    return Volley(sock, REST)


def test_who_has_ipv6_alone_is_given_back_with_those_behind(sock: socket.socket) -> None:
    first, last = fleet(2)
    asks = [ask(first, 1), ask(Peer("six", ("::1",), first.port), 2), ask(last, 3)]
    with bound((first, last)) as there:
        volley = volley_of(sock)
        assert list(volley.send(asks)) == asks[1:]
        assert there[0].recv(100) == asks[0].ident + REST
        assert not volley.send(asks[2:])
        assert there[1].recv(100) == asks[2].ident + REST


def test_where_the_system_has_no_such_calls_all_are_asked_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mddns.lookup.burst._KNOWN", False)
    monkeypatch.setattr(sockets, "MANY", 1)
    peers = fleet(3)
    chosen = [(each, Standing.REGISTRY) for each in peers]
    lookup = Lookup(APEX, Name.parse("web.minidisc.").wire, SRV, chosen, time.monotonic(), timeout=5.0)
    sockets.run(lookup, time.monotonic)
    assert {each.outcome for each in lookup.asks} == {Outcome.REFUSED}
