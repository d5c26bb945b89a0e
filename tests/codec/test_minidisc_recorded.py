"""Minidisc's Go program as it was recorded: what it says we understand, and what it asks we answer.

These exchanges stand in for the program itself, which test_hosts_minidisc runs where there is one.
"""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Callable, Iterator, Mapping

import pytest
from bed import minidisc
from bed.process import wait_until
from conftest import Measured
from loopback import Fixed, address, fleet, free_port
from places import TESTS
from played import ALPHA, peer

import mddns
from mddns.base.model import Peer
from mddns.codec.answer import introduce
from mddns.codec.minidisc_json import read_delegate, read_response, read_services, request
from mddns.directory.peer_memory import Way
from mddns.dns.message import PTR
from mddns.lookup.asked_peer import Outcome
from tests.lookup.test_minidisc_peers import minidisc as served
from tests.lookup.test_minidisc_peers import ports, real, says
from tests.lookup.test_sockets import blocking

RECORDED: dict[str, dict[str, str]] = json.loads((TESTS / "data" / "minidisc" / "go-md.json").read_text())
ADDRESS = "100.64.0.1"


def octets(name: str, part: str = "response", **changed: str) -> bytes:
    """One side of an exchange, with another address, its length told anew."""
    text = RECORDED[name][part].replace(ADDRESS, changed.get("address", ADDRESS))
    text = re.sub(r":28004\b", f":{changed.get('port', '28004')}", text)
    head, _, body = text.partition("\r\n\r\n")
    if "delegate" in changed:
        body = re.sub(r":\d+\"", f':{changed["delegate"]}"', body)
    head = re.sub(r"Content-Length: \d+", f"Content-Length: {len(body)}", head)
    return f"{head}\r\n\r\n{body}".encode("latin-1")


def test_whether_the_program_itself_was_run_is_told(measured: Measured) -> None:
    """At the end of each run: nobody takes a stand-in for the program."""
    program = minidisc.go_md()
    stood_in = f"not here ({minidisc.GO_MD} names none); recorded exchanges stood in for it"
    measured(f"Minidisc's Go md: {f'run from {program}' if program else stood_in}")


@pytest.mark.parametrize("name", [name for name in RECORDED if "response" in RECORDED[name] and "DNS" not in name])
def test_its_responses_are_read(name: str) -> None:
    response = octets(name)
    assert read_response(response, ended=True) is not None
    status = int(response.split()[1])
    assert read_response(response, ended=True) == (status, response.partition(b"\r\n\r\n")[2])


def test_its_list_is_what_it_printed_itself() -> None:
    response = read_response(octets("leader services"), ended=True)
    assert response is not None
    listed = read_services(response[1], ALPHA)
    services = [introduce(told, ALPHA, "tailscale") for told in listed.told]
    printed = [f"* {each.name} {each.endpoint} {_braces(each.labels)}" for each in services]
    assert [" ".join(line.split()) for line in RECORDED["md list"]["stdout"].splitlines()] == printed
    assert listed.left_out == 0


def _braces(labels: Mapping[str, str]) -> str:
    return f"{{ {', '.join(f'{key}={value}' for key, value in labels.items())} }}" if labels else "{}"


def test_we_ask_as_it_was_asked() -> None:
    assert request("GET", "/services", f"{ADDRESS}:28004") == octets("leader services", "request")
    body = b'{"addrPort": "100.64.0.1:4711"}'
    asked = octets("leader takes a delegate", "request")
    assert request("POST", "/add-delegate", f"{ADDRESS}:28004", body) == asked


def test_a_lookup_finds_what_it_advertises() -> None:
    (me,) = fleet(1)
    with served(me, says(octets("leader services", address=me.addresses[0]))):
        lookup = real(me)
        blocking(lookup)
    assert ports(lookup) == {"host1": [8080]}


def test_a_list_whose_length_is_not_told_ends_with_the_connection() -> None:
    (me,) = fleet(1)
    assert b"Content-Length" not in octets("leader services, many")
    with served(me, says(octets("leader services, many", address=me.addresses[0]))):
        lookup = real(me, qtype=PTR)
        blocking(lookup)
    assert ports(lookup) == {"host1": list(range(1000, 1060))}


def test_it_answers_dns_with_nothing_at_all() -> None:
    """A DNS message over TCP is the beginning of a line to it: so a peer is asked by HTTP soon."""
    assert RECORDED["leader and DNS"]["response"] == ""


@pytest.fixture
def registry() -> Iterator[tuple[Peer, mddns.Registry]]:
    me = peer("alpha", address(), port=free_port())
    with mddns.start_registry(Fixed(me, ())) as registry:
        registry.advertise_service(8080, "web", {"env": "prod", "tier": "1"})
        registry.advertise_service(5432, "db")
        yield me, registry


def talk(me: Peer, said: bytes) -> tuple[int, bytes]:
    """What we answer to a request of a program of our own host."""
    where = me.addresses[0]
    said = said.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)
    with socket.create_connection((where, me.port), 5, (where, 0)) as sock, sock.makefile("rb") as file:
        sock.sendall(said)
        answer = file.read()
    response = read_response(answer, ended=True)
    assert response is not None
    return response


def test_what_it_asks_when_it_lists_is_answered_as_it_answers_itself(registry: tuple[Peer, mddns.Registry]) -> None:
    me, _ = registry
    where = {"address": me.addresses[0], "port": str(me.port)}
    status, body = talk(me, octets("md list asks", "request", **where))
    theirs = octets("leader services", address=me.addresses[0]).partition(b"\r\n\r\n")[2]
    assert (status, json.loads(body)) == (200, json.loads(theirs))


def test_its_delegate_registers_pings_and_is_asked(registry: tuple[Peer, mddns.Registry]) -> None:
    me, ours = registry
    where = {"address": me.addresses[0], "port": str(me.port)}
    heard: list[bytes] = []
    with socket.create_server((me.addresses[0], 0)) as listener:
        port = listener.getsockname()[1]
        body = octets("delegate services", address=me.addresses[0]).replace(b'"web"', b'"sub"')
        stop = threading.Event()
        thread = threading.Thread(target=_serve, args=(listener, says(body, heard), stop))
        thread.start()
        try:
            registers = octets("delegate registers", "request", delegate=str(port), **where)
            assert read_delegate(registers.partition(b"\r\n\r\n")[2]) == (me.addresses[0], port)
            assert talk(me, registers)[0] == 200
            assert talk(me, octets("delegate pings", "request", **where)) == (200, b"")

            def names() -> set[str]:
                found = talk(me, octets("md list asks", "request", **where))[1]
                return {each["name"] for each in json.loads(found)}

            assert wait_until(lambda: names() == {"web", "db", "sub"}, 10)
        finally:
            stop.set()
            thread.join()
    assert heard[0].startswith(b"GET /services HTTP/1.0\r\n")
    assert {each.name for each in ours.services()} == {"web", "db"}


def _serve(listener: socket.socket, reply: Callable[[socket.socket], None], stop: threading.Event) -> None:
    listener.settimeout(0.02)
    while not stop.is_set():
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            continue
        with connection:
            reply(connection)


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("leader refuses another host's address", 403),
        ("leader refuses a wrong method", 405),
    ],
)
def test_what_it_refuses_we_refuse_with_the_same_status(
    registry: tuple[Peer, mddns.Registry], name: str, status: int
) -> None:
    me, _ = registry
    said = octets(name, "request", address=me.addresses[0], port=str(me.port)).replace(b"Connection: close\r\n", b"")
    assert int(octets(name).split()[1]) == status
    assert talk(me, said)[0] == status


def test_one_that_has_gone_is_refused_at_once() -> None:
    (me,) = fleet(1)
    lookup = real(me, way=Way.AT_ONCE)
    blocking(lookup)
    assert lookup.asks[0].outcome is Outcome.REFUSED
