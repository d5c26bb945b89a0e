"""What we answer Minidisc on our port, and whom we take for a delegate: attacked from everywhere.

The numbers are those of Minidisc's defects that are not to be repeated.
"""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from bed import minidisc
from bed.host import PORT, Host
from bed.hosts import Bed
from bed.process import Process, wait_until
from conftest import MakeBed
from places import TESTS

pytestmark = pytest.mark.namespaces


@pytest.fixture
def bed(make_bed: MakeBed) -> Bed:
    return make_bed(["alpha", "bravo"])


def advertise(host: Host, name: str, port: int) -> Process:
    process = host.start(["md", "-v", "advertise", name, f":{port}"])
    process.wait_for("advertised", timeout=20)
    return process


def http(
    host: Host,
    method: str,
    path: str,
    body: bytes = b"",
    *,
    to: str = "",
    source: str = "",
    timeout: float = 5.0,
    **headers: str,
) -> tuple[int, bytes]:
    """One request from `host` to alpha's port, octet for octet; status and body."""
    to = to or "100.64.0.1"
    fields = {"Host": f"{to}:{PORT}", "Content-Length": str(len(body)), "Connection": "close", **headers}
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    sock = host.call(socket.create_connection, (to, PORT), timeout, (source, 0) if source else None)
    with sock, sock.makefile("rb") as file:
        sock.sendall(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
        answer = file.read()
    head_octets, _, said = answer.partition(b"\r\n\r\n")
    return int(head_octets.split()[1]), said


def listed(host: Host) -> dict[str, str]:
    status, body = http(host, "GET", "/services")
    assert status == 200
    return {each["name"]: each["addrPort"] for each in json.loads(body)}


def register(host: Host, address: str, port: int, **how: Any) -> int:
    return http(host, "POST", "/add-delegate", json.dumps({"addrPort": f"{address}:{port}"}).encode(), **how)[0]


def entry(name: str, endpoint: str) -> dict[str, Any]:
    return {"name": name, "labels": {}, "addrPort": endpoint}


@contextlib.contextmanager
def delegate(host: Host, reply: Callable[[socket.socket], None] | list[dict[str, Any]]) -> Iterator[int]:
    """A delegate that lists these, or does as it is told; its port."""
    listener = host.socket_tcp()
    listener.settimeout(0.05)
    stop = threading.Event()

    def honest(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + json.dumps(reply).encode())

    work = honest if isinstance(reply, list) else reply

    def serve() -> None:
        while not stop.is_set():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            with connection, contextlib.suppress(OSError):
                connection.settimeout(3)
                work(connection)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        stop.set()
        thread.join()
        listener.close()


def found(host: Host) -> list[dict[str, Any]]:
    return json.loads(host.run(["md", "list", "-o", "json"]).stdout)


# What is answered


@pytest.mark.quick
def test_minidiscs_three_routes(bed: Bed) -> None:
    """This host's services, its tenants' too, and no other host's."""
    alpha, bravo = bed.host("alpha"), bed.host("bravo")
    advertise(alpha, "web", 80)
    advertise(alpha, "db", 5432)
    advertise(bravo, "other", 81)
    assert wait_until(lambda: len(found(alpha)) == 3)
    assert listed(bravo) == {"web": "100.64.0.1:80", "db": "100.64.0.1:5432"}
    assert http(bravo, "GET", "/ping") == (200, b"")
    with delegate(alpha, [entry("theirs", "100.64.0.1:9")]) as port:
        assert register(alpha, "100.64.0.1", port) == 200
        assert wait_until(lambda: listed(bravo).get("theirs") == "100.64.0.1:9")
    assert http(bravo, "PUT", "/services")[0] == 405
    assert http(bravo, "GET", "/add-delegate")[0] == 405
    assert http(bravo, "GET", "/")[0] == 404


@pytest.mark.quick
def test_a_delegate_that_ends_is_gone_from_dns_and_http(bed: Bed) -> None:
    alpha, bravo = bed.host("alpha"), bed.host("bravo")
    advertise(alpha, "web", 80)
    with delegate(alpha, [entry("theirs", "100.64.0.1:9")]) as port:
        assert register(alpha, "100.64.0.1", port) == 200
        assert wait_until(lambda: len(found(bravo)) == 2)
    assert wait_until(lambda: listed(bravo) == {"web": "100.64.0.1:80"}, 10)
    assert wait_until(lambda: [each["name"] for each in found(bravo)] == ["web"], 10)


def test_2_a_slow_delegate_does_not_hide_the_host(bed: Bed) -> None:
    """Nor the other delegates; Minidisc's own callers give up after 2 s."""
    alpha, bravo = bed.host("alpha"), bed.host("bravo")
    advertise(alpha, "web", 80)
    quick, slow = delegate(alpha, [entry("quick", "100.64.0.1:9")]), delegate(alpha, lambda connection: time.sleep(2.5))
    with quick as one, slow as other:
        assert register(alpha, "100.64.0.1", other) == 200
        assert register(alpha, "100.64.0.1", one) == 200
        begun = time.monotonic()
        while time.monotonic() < begun + 8:
            asked = time.monotonic()
            assert "web" in listed(bravo)
            assert time.monotonic() - asked < 1.7
            asked = time.monotonic()
            assert http(alpha, "GET", "/ping", timeout=3)[0] == 200
        assert set(listed(bravo)) == {"web", "quick"}


def test_4_a_hung_delegate_delays_no_ping(bed: Bed) -> None:
    """While it is asked, whoever pings is answered: nobody begins a fail-over."""
    alpha = bed.host("alpha")
    advertise(alpha, "web", 80)
    with delegate(alpha, lambda connection: time.sleep(2.5)) as port:
        assert register(alpha, "100.64.0.1", port) == 200
        bravo, slowest = bed.host("bravo"), 0.0
        for _ in range(100):
            begun = time.monotonic()
            assert http(bravo, "GET", "/ping")[0] == 200
            slowest = max(slowest, time.monotonic() - begun)
        assert slowest < 0.5


BAD: dict[str, Callable[[socket.socket], None]] = {
    "closes": lambda connection: None,
    "garbage": lambda connection: connection.sendall(b"\0" * 1000),
    "no list": lambda connection: connection.sendall(b'HTTP/1.0 200 OK\r\n\r\n{"a": 1}'),
    "deep": lambda connection: connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + b"[" * 100_000),
    "endless": lambda connection: (
        [connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + b" " * 65536) for _ in range(100)] and None
    ),
}


@pytest.mark.parametrize("trick", BAD)
def test_a_bad_delegate_costs_its_own_services_alone(bed: Bed, trick: str) -> None:
    alpha, bravo = bed.host("alpha"), bed.host("bravo")
    advertise(alpha, "web", 80)
    with delegate(alpha, BAD[trick]) as bad, delegate(alpha, [entry("good", "100.64.0.1:9")]) as good:
        assert register(alpha, "100.64.0.1", bad) == 200
        assert register(alpha, "100.64.0.1", good) == 200
        assert wait_until(lambda: set(listed(bravo)) == {"web", "good"}, 10)


# Who may be a delegate


def test_9_another_host_cannot_make_itself_or_us_a_delegate(bed: Bed) -> None:
    alpha, bravo = bed.host("alpha"), bed.host("bravo")
    advertise(alpha, "web", 80)
    asked = threading.Event()
    with delegate(bravo, lambda connection: asked.set()) as port:
        assert register(bravo, "100.64.0.2", port) == 403
        assert register(bravo, "100.64.0.1", port) == 403
        assert register(alpha, "100.64.0.2", port) == 403
        assert register(alpha, "127.0.0.1", port) == 403
        assert listed(bravo) == {"web": "100.64.0.1:80"}
        assert not asked.wait(0.5)


def test_9_a_web_page_cannot(bed: Bed) -> None:
    alpha = bed.host("alpha")
    advertise(alpha, "web", 80)
    own = "100.64.0.1"
    assert register(alpha, own, 4711, Origin="https://evil.example") == 403
    assert register(alpha, own, 4711, Origin="null") == 403
    assert register(alpha, own, 4711, Referer="http://100.64.0.1:28004/") == 403
    assert register(alpha, own, 4711, Sec_Fetch_Site="cross-site") == 403
    assert register(alpha, own, 4711, Host="evil.example") == 403  # rebound to our address
    assert register(alpha, own, 4711, Host="evil.example:28004") == 403
    assert register(alpha, own, 4711) == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b'{"addrPort": "alpha:4711"}', 400),
        (b'{"addrPort": "100.64.0.1:0"}', 400),
        (b"[" * 60_000, 400),
        (b'{"addrPort": "100.64.0.1:28004"}', 403),  # ourselves: we would ask in circles
    ],
)
def test_what_names_no_delegate_is_refused(bed: Bed, body: bytes, status: int) -> None:
    alpha = bed.host("alpha")
    advertise(alpha, "web", 80)
    assert http(alpha, "POST", "/add-delegate", body)[0] == status
    assert listed(alpha) == {"web": "100.64.0.1:80"}


def test_there_are_so_many_delegates_and_no_more(bed: Bed) -> None:
    alpha = bed.host("alpha")
    advertise(alpha, "web", 80)
    with contextlib.ExitStack() as stack:
        ports = [stack.enter_context(delegate(alpha, [])) for _ in range(33)]
        statuses = [register(alpha, "100.64.0.1", port) for port in ports]
        assert statuses == [200] * 32 + [503]
        assert register(alpha, "100.64.0.1", ports[0]) == 200  # twice does no harm


@pytest.mark.parametrize("mode", ["ok", "silent", "garbage", "forbidden", "not-found"])
def test_in_userspace_networking_the_daemon_tells_who_is_of_this_host(bed: Bed, mode: str) -> None:
    """There every peer comes from 127.0.0.1. Only "nobody known" (404) is this host; no answer is a refusal."""
    bed.tailnet.tun = False
    alpha, bravo = bed.host("alpha"), bed.host("bravo")
    advertise(alpha, "web", 80)
    alpha.tailscaled.mode = mode
    with delegate_at_loopback(alpha, [entry("theirs", "100.64.0.1:9")]) as port:
        body = json.dumps({"addrPort": f"100.64.0.1:{port}"}).encode()
        here = alpha.call(socket.create_server, ("127.0.0.1", 0))
        proxied = here.getsockname()[1]
        here.close()
        if mode == "ok":
            bed.tailnet.proxied[f"127.0.0.1:{proxied}"] = bravo.node
            assert http_from(alpha, proxied, body) == 403
            del bed.tailnet.proxied[f"127.0.0.1:{proxied}"]
        expected = 200 if mode in ("ok", "not-found") else 403
        assert http(alpha, "POST", "/add-delegate", body, to="127.0.0.1")[0] == expected
        assert any(target.startswith("/localapi/v0/whois?addr=127.0.0.1:") for target in alpha.tailscaled.requests)
        if expected == 200:
            ours = http(alpha, "GET", "/services", to="127.0.0.1")
            assert wait_until(lambda: b"theirs" in http(alpha, "GET", "/services", to="127.0.0.1")[1]), ours


@contextlib.contextmanager
def delegate_at_loopback(host: Host, entries: list[dict[str, Any]]) -> Iterator[int]:
    listener = host.call(socket.create_server, ("127.0.0.1", 0))
    port = listener.getsockname()[1]
    listener.settimeout(0.05)
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                connection, _ = listener.accept()
                with connection:
                    connection.settimeout(3)
                    connection.recv(4096)
                    connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + json.dumps(entries).encode())

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield port
    finally:
        stop.set()
        thread.join()
        listener.close()


def http_from(host: Host, port: int, body: bytes) -> int:
    """From a given port of 127.0.0.1, as the daemon does for a peer."""
    sock = host.call(socket.create_connection, ("127.0.0.1", PORT), 5, ("127.0.0.1", port))
    with sock, sock.makefile("rb") as file:
        fields = f"Host: 100.64.0.1:{PORT}\r\nContent-Length: {len(body)}\r\nConnection: close"
        sock.sendall(f"POST /add-delegate HTTP/1.1\r\n{fields}\r\n\r\n".encode() + body)
        return int(file.read().split()[1])


# What a delegate may say


def test_9_a_delegate_that_gives_other_hosts_addresses_is_heard_as_ours_and_marked(bed: Bed) -> None:
    """As with AdvertiseRemoteService: a service of a machine that has no registry. It is remote, and we said so."""
    alpha, bravo = bed.host("alpha"), bed.host("bravo")
    advertise(alpha, "web", 80)
    said = [entry("nas", "100.64.0.9:445"), entry("local", "127.0.0.1:22"), entry("cloud", "169.254.169.254:80")]
    with delegate(alpha, said) as port:
        assert register(alpha, "100.64.0.1", port) == 200
        assert wait_until(lambda: len(found(bravo)) == 2)
        nas = next(each for each in found(bravo) if each["name"] == "nas")
        assert (nas["addrPort"], nas["remote"], nas["via"]) == ("100.64.0.9:445", True, "100.64.0.1:28004")
        refusing = (
            "import mddns; print([s.name for s in mddns.Resolver(policy=mddns.Policy(remote=False)).list_services()])"
        )
        assert bravo.run([sys.executable, "-c", refusing]).stdout.strip() == "['web']"


def test_9_a_delegate_cannot_speak_for_another_host_that_speaks_for_itself(bed: Bed) -> None:
    alpha, bravo = bed.host("alpha"), bed.host("bravo")
    advertise(alpha, "web", 80)
    bravo.start(["md", "advertise", "db", ":5432", "env=prod"]).wait_for("advertised")
    with delegate(alpha, [{"name": "db", "labels": {"env": "evil"}, "addrPort": "100.64.0.2:5432"}]) as port:
        assert register(alpha, "100.64.0.1", port) == 200
        assert wait_until(lambda: "db" in listed(bravo))
        (db,) = [each for each in found(bravo) if each["name"] == "db"]
        assert (db["labels"], db["remote"], db["host"]) == ({"env": "prod"}, False, "bravo")


def test_what_a_delegate_says_is_told_to_no_leader(bed: Bed) -> None:
    """Our second port lists what registered with us, and nothing that we have from Minidisc."""
    alpha = bed.host("alpha")
    minidisc.registry(alpha, ("theirs", 9001, {})).wait_for("advertised", timeout=20)
    joined = advertise(alpha, "ours", 80)
    joined.wait_for("is its delegate", timeout=10)
    ports = [int(each) for each in re.findall(r"100\.64\.0\.1:(\d+)", alpha.run(["ss", "-Hltn"]).stdout)]
    (second,) = [port for port in ports if port != PORT]
    sock = alpha.call(socket.create_connection, ("100.64.0.1", second), 5)
    with sock, sock.makefile("rb") as file:
        sock.sendall(b"GET /services HTTP/1.0\r\nHost: 100.64.0.1\r\n\r\n")
        body = file.read().partition(b"\r\n\r\n")[2]
    assert [each["name"] for each in json.loads(body)] == ["ours"]
    assert wait_until(lambda: {each["name"] for each in found(alpha)} == {"ours", "theirs"})


# Foreign programs, ends


def test_a_foreign_program_on_the_tcp_port_is_told_of_once_and_dns_is_answered(bed: Bed) -> None:
    alpha, bravo = bed.host("alpha"), bed.host("bravo")
    with alpha.socket_tcp(PORT):
        md = advertise(alpha, "web", 80)
        assert bravo.run(["md", "find", "web"]).stdout.strip() == "100.64.0.1:80"
        md.wait_for("that program is not Minidisc", timeout=10)
        time.sleep(1.0)
        assert md.stderr.count("that program is not Minidisc") == 1


def test_a_child_of_a_delegate_keeps_no_port(bed: Bed) -> None:
    alpha = bed.host("alpha")
    minidisc.registry(alpha, ("theirs", 9001, {})).wait_for("advertised", timeout=20)
    program = alpha.start([sys.executable, "-m", "bed.program", "9000"], env=pythonpath())
    program.wait_for("up", timeout=20)

    def second_ports() -> list[str]:
        return [line for line in alpha.run(["ss", "-Hltn"]).stdout.splitlines() if ":28004" not in line]

    assert wait_until(lambda: len(second_ports()) == 1, 10)
    program.signal(signal.SIGUSR2)
    time.sleep(0.3)
    program.kill()
    assert wait_until(lambda: not second_ports(), 5), second_ports()


def pythonpath() -> dict[str, str]:

    return {"PYTHONPATH": str(TESTS)}
