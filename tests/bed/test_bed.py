"""The bed works as documented: hosts, refusals, silence, programs, loopback."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import MakeBed

from bed import netns
from bed.hosts import PORT, Bed, Host, NeedsNamespaces
from bed.process import wait_until
from bed.tailnet import Node, phone
from bed.tailscaled import get

SILENCE = 0.3  # seconds without a response that count as silence: a response takes less than a millisecond


@pytest.fixture(scope="module")
def bed(make_module_bed: MakeBed) -> Bed:
    return make_module_bed(["alpha", "bravo", "charlie"], others=[phone()])


def echo(asker: Host, answerer: Host, family: int) -> bytes:
    """Returns what comes back when `answerer` returns what it received."""
    with answerer.socket_udp(PORT, family) as there, asker.socket_udp(0, family) as here:
        address = answerer.ipv6 if family == 6 else answerer.ipv4
        here.sendto(b"hello", (address, PORT))
        data, sender = there.recvfrom(100)
        there.sendto(data, sender)
        return here.recv(100)


# Hosts


def test_udp_goes_from_host_to_host_over_ipv4(bed: Bed) -> None:
    assert echo(bed.host("alpha"), bed.host("bravo"), 4) == b"hello"


@pytest.mark.namespaces
def test_udp_goes_from_host_to_host_over_ipv6(bed: Bed) -> None:
    assert echo(bed.host("alpha"), bed.host("bravo"), 6) == b"hello"


def test_tcp_goes_from_host_to_host(bed: Bed) -> None:
    alpha, bravo = bed.host("alpha"), bed.host("bravo")
    with bravo.socket_tcp(PORT) as listener, alpha.connect_tcp(bravo.ipv4) as client:
        server, peer = listener.accept()
        with server:
            assert peer[0] == alpha.ipv4
            client.sendall(b"x")
            assert server.recv(1) == b"x"


@pytest.mark.namespaces
@pytest.mark.parametrize("family", [4, 6])
def test_a_closed_port_is_refused_across_namespaces(bed: Bed, family: int) -> None:
    bravo = bed.host("bravo")
    with bed.host("alpha").socket_udp(0, family) as here:
        here.connect((bravo.ipv6 if family == 6 else bravo.ipv4, PORT))
        here.send(b"anyone?")
        with pytest.raises(ConnectionRefusedError):
            here.recv(100)


@pytest.mark.namespaces
def test_every_host_can_have_the_same_port(bed: Bed) -> None:
    with (
        bed.host("alpha").call(socket.create_server, ("0.0.0.0", PORT)),
        bed.host("bravo").call(socket.create_server, ("0.0.0.0", PORT)),
    ):
        pass


@pytest.mark.namespaces
def test_nobody_has_a_way_out(bed: Bed) -> None:
    with bed.host("alpha").socket_udp() as here, pytest.raises(OSError) as caught:  # noqa: PT011
        here.sendto(b"x", ("192.0.2.1", 53))
    assert caught.value.errno == errno.ENETUNREACH


@pytest.mark.namespaces
def test_a_call_leaves_the_main_thread_where_it_is(bed: Bed) -> None:
    def where() -> str:
        return os.readlink("/proc/thread-self/ns/net")

    before = where()
    assert bed.host("alpha").call(where) != before
    assert where() == before


def test_an_exception_in_a_call_reaches_the_caller(bed: Bed) -> None:
    with pytest.raises(ZeroDivisionError):
        bed.host("alpha").call(lambda: 1 // 0)


def test_a_program_finds_its_own_home_cache_and_tailscaled(bed: Bed) -> None:
    alpha = bed.host("alpha")
    names = ("HOME", "XDG_CACHE_HOME", "TS_SOCKET")
    told = alpha.run([sys.executable, "-c", f"import os; print(*map(os.environ.get, {names}))"])
    assert told.stdout.split() == [str(alpha.directory), str(alpha.directory / "cache"), str(alpha.socket)]


def test_every_host_has_a_tailscaled_that_names_it(bed: Bed) -> None:
    for host in bed.hosts:
        assert json.loads(get(host.socket, "/localapi/v0/status")[2])["TailscaleIPs"] == list(host.addresses)


# Silence


@pytest.mark.namespaces
def test_a_cut_host_is_silent_and_healed_it_answers(make_bed: MakeBed) -> None:
    bed = make_bed(["alpha", "bravo"])
    alpha, bravo = bed.host("alpha"), bed.host("bravo")
    bed.cut("bravo")
    with alpha.socket_udp(timeout=SILENCE) as here:
        here.connect((bravo.ipv4, PORT))
        here.send(b"anyone?")
        with pytest.raises(TimeoutError):
            here.recv(100)
    bed.heal("bravo")
    assert echo(alpha, bravo, 4) == echo(alpha, bravo, 6) == b"hello"


@pytest.mark.namespaces
@pytest.mark.parametrize("family", [4, 6])
def test_drop_is_silent_where_a_closed_port_would_refuse(make_bed: MakeBed, family: int) -> None:
    bed = make_bed(["alpha", "bravo"])
    bed.drop("bravo")
    address = bed.host("bravo").addresses[family == 6]
    with bed.host("alpha").socket_udp(0, family, timeout=SILENCE) as here:
        here.connect((address, PORT))
        here.send(b"anyone?")
        with pytest.raises(TimeoutError):
            here.recv(100)
    with pytest.raises(TimeoutError):
        bed.host("alpha").connect_tcp(address, PORT, timeout=SILENCE)


@pytest.mark.namespaces
def test_drop_leaves_other_ports_alone_and_heal_undoes_it(make_bed: MakeBed) -> None:
    bed = make_bed(["alpha", "bravo"])
    alpha, bravo = bed.host("alpha"), bed.host("bravo")
    bed.drop("bravo", PORT + 1)
    assert echo(alpha, bravo, 4) == b"hello"
    bed.drop("bravo")
    bed.heal("bravo")
    assert echo(alpha, bravo, 4) == b"hello"


@pytest.mark.namespaces
def test_a_phone_is_silent(bed: Bed) -> None:
    (address, _) = bed.tailnet.nodes[-1].addresses
    with bed.host("alpha").socket_udp(timeout=SILENCE) as here:
        here.connect((address, PORT))
        here.send(b"anyone?")
        with pytest.raises(TimeoutError):
            here.recv(100)


# Programs


def test_a_started_program_is_heard_and_stopped(bed: Bed) -> None:
    code = "import signal; print('ready', flush=True); signal.pause()"
    with bed.host("alpha").start([sys.executable, "-c", code]) as program:
        assert program.wait_for("ready") == "ready"
        assert program.returncode is None
        assert program.terminate() == -signal.SIGTERM


def test_waiting_for_what_a_program_never_says_tells_what_it_said(bed: Bed) -> None:
    with (
        bed.host("alpha").start(["sh", "-c", "echo other; echo why >&2; exit 3"]) as program,
        pytest.raises(AssertionError, match=r"(?s)exit 3.*other.*why"),
    ):
        program.wait_for("ready")


def test_the_children_of_a_program_end_with_it(bed: Bed) -> None:
    with bed.host("alpha").start(["sh", "-c", "sleep 600 & echo child $!; wait"]) as program:
        child = int(program.wait_for("child").split()[1])
    stat = Path(f"/proc/{child}/stat")
    # An orphan is reaped by init, which can take a while.
    assert wait_until(lambda: not stat.exists() or ") Z " in stat.read_text())


def test_a_program_that_takes_too_long_is_ended(bed: Bed) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        bed.host("alpha").run(["sh", "-c", "sleep 600; true"], timeout=0.1)


# Up and down


@pytest.mark.namespaces
def test_fifty_hosts_are_up_within_seconds(make_bed: MakeBed) -> None:
    started = time.monotonic()
    bed = make_bed(f"host{n}" for n in range(50))
    took = time.monotonic() - started
    assert echo(bed.host("host0"), bed.host("host49"), 6) == b"hello"
    assert took < 10  # 0.4 s on the machine of its author; slow CI machines take longer, but less than this


@pytest.mark.namespaces
def test_a_bed_that_fails_halfway_is_taken_down() -> None:
    bed = Bed(["alpha", Node("bravo", addresses=("100.64.0.999",))])
    with pytest.raises(subprocess.CalledProcessError), bed:
        pass
    assert not [name for name in os.listdir(netns.NETNS) if name.startswith(f"md{os.getpid()}.{bed.number}-")]


@pytest.mark.namespaces
def test_what_a_dead_run_left_is_removed() -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    netns.ip([f"netns add md{dead.pid}.1-alpha", f"netns add md{os.getpid()}.999-alpha"])
    netns.sweep()
    left = os.listdir(netns.NETNS)
    assert f"md{dead.pid}.1-alpha" not in left
    assert f"md{os.getpid()}.999-alpha" in left
    netns.ip([f"netns del md{os.getpid()}.999-alpha"])


# Loopback


@pytest.fixture
def on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netns, "why_not", lambda: "the test says so")


def test_on_loopback_hosts_talk_over_ipv4(on_loopback: None) -> None:
    with Bed(["alpha", "bravo"]) as bed:
        assert bed.host("alpha").ipv4.startswith("127.77.")
        assert echo(bed.host("alpha"), bed.host("bravo"), 4) == b"hello"
        assert bed.host("alpha").run(["true"]).returncode == 0


def test_on_loopback_nobody_has_ipv6(on_loopback: None) -> None:
    with Bed(["alpha"]) as bed, pytest.raises(ValueError, match="no IPv6"):
        _ = bed.host("alpha").ipv6


@pytest.mark.parametrize("what", ["cut", "drop", "heal"])
def test_on_loopback_no_cable_can_be_pulled(on_loopback: None, what: str) -> None:
    with Bed(["alpha"]) as bed, pytest.raises(NeedsNamespaces):
        getattr(bed, what)("alpha")
