"""The life of a registration: when it is there, when it is not any more, and what is one service and what are two."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable

import pytest
from bed.dig import Reply, dig
from bed.embedded import ports, started
from bed.hosts import Bed
from bed.process import Process, wait_until
from conftest import MakeBed, Measured

AT_ONCE = 0.5  # seconds, a dig included

# A program that does what it is told, one Python expression a line on its standard input.
TOLD = """
import sys, mddns
registry = mddns.start_registry()
print("up", flush=True)
for line in open(sys.argv[1]):
    print(repr(eval(line)), flush=True)
"""
CLOSES = """
import signal, sys, mddns
registry = mddns.start_registry()
registry.advertise_service(9001, "web", {})
print("up", flush=True)
signal.sigwait([signal.SIGUSR1])
sys.argv[1] == "close" and registry.close()
sys.argv[1] == "exit" and sys.exit()
sys.argv[1] == "withdraw" and registry.unlist_service(9001)
print("done", flush=True)
signal.sigwait([signal.SIGUSR2])
"""
BLOCKED = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGUSR2])\n"


@pytest.fixture
def bed(make_bed: MakeBed) -> Bed:
    return make_bed(["alpha", "bravo"])


def python(bed: Bed, code: str, *arguments: str) -> Process:
    process = bed.host("alpha").start([sys.executable, "-c", BLOCKED + code, *arguments])
    process.wait_for("up", timeout=20)
    return process


def ask(bed: Bed, name: str, rtype: str = "SRV") -> Reply:
    return dig(bed.host("bravo"), bed.host("alpha").ipv4, f"{name}.minidisc", rtype, "+norec")


def ended_in(bed: Bed, end: Callable[[], object]) -> float:
    """Seconds until port 9001 is not told of any more."""
    begun = time.monotonic()
    end()
    assert wait_until(lambda: 9001 not in ports(bed), timeout=5)
    return time.monotonic() - begun


@pytest.mark.quick
@pytest.mark.parametrize("alone", [True, False], ids=["holder", "tenant"])
@pytest.mark.parametrize("way", ["close", "exit", "withdraw"])
def test_whoever_closes_or_ends_withdraws_at_once(bed: Bed, way: str, alone: bool, measured: Measured) -> None:
    """As the holder with a tenant, and as a tenant; what the other offers stays."""
    if not alone:
        started(bed.host("alpha"), 9002)
    process = python(bed, CLOSES, way)
    if alone:
        started(bed.host("alpha"), 9002)
    assert ports(bed) == {9001, 9002}
    took = ended_in(bed, lambda: process.signal(signal.SIGUSR1))
    assert took <= AT_ONCE
    assert ports(bed) == {9002}
    measured(f"{way} of a {'holder' if alone else 'tenant'}: withdrawn after {1000 * took:.0f} ms, dig included")


@pytest.mark.parametrize("alone", [True, False], ids=["holder", "tenant"])
def test_sigterm_withdraws_at_once_and_ends_with_0(bed: Bed, alone: bool) -> None:
    alpha = bed.host("alpha")
    if not alone:
        started(alpha, 9002)
    process = alpha.start(["md", "advertise", "web", ":9001"])
    process.wait_for("advertised", timeout=20)
    if alone:
        started(alpha, 9002)
    assert ended_in(bed, lambda: process.signal(signal.SIGTERM)) <= AT_ONCE
    assert process.wait() == 0
    assert ports(bed) == {9002}


def do(bed: Bed, tmp: str, *lines: str) -> list[str]:
    """What a program says to each line, in order; it ends after the last."""
    path = bed.host("alpha").directory / tmp
    path.write_text("".join(f"{line}\n" for line in (*lines, "__import__('time').sleep(600)")))
    process = python(bed, TOLD, str(path))
    assert wait_until(lambda: len(process.stdout.splitlines()) > len(lines)), process.stderr
    return process.stdout.splitlines()[1:]


@pytest.mark.parametrize("tenant", [False, True], ids=["holder", "tenant"])
def test_the_same_endpoint_again_updates_in_place_and_keeps_its_age(bed: Bed, tenant: bool) -> None:
    if tenant:
        started(bed.host("alpha"), 1, name="other")
    said = do(
        bed,
        "life",
        "registry.advertise_service(9001, 'web', {'v': '1'}).service.since",
        "__import__('time').sleep(0.1)",
        "registry.advertise_service(9001, 'web', {'v': '2'}).service.since",
    )
    assert said[0] == said[2]
    (record,) = ask(bed, "alpha-9001.web", "TXT").answer
    assert set(record.split()[2:]) == {f'"md.since={said[0]}"', '"v=2"'}
    assert len(ask(bed, "web").answer) == 1


def test_two_names_on_one_port(bed: Bed) -> None:
    do(bed, "life", "registry.advertise_service(80, 'web')", "registry.advertise_service(80, 'api')")
    assert (ports(bed), ports(bed, name="api")) == ({80}, {80})


def test_one_name_on_two_ports(bed: Bed) -> None:
    do(bed, "life", "registry.advertise_service(80, 'web')", "registry.advertise_service(81, 'web')")
    assert ports(bed) == {80, 81}


def test_tcp_and_udp_on_one_port(bed: Bed) -> None:
    said = do(
        bed,
        "life",
        "registry.advertise_service(53, 'web')",
        "registry.advertise_service(53, 'web', protocol='udp')",
    )
    assert len(said) == 2
    targets = {line.split()[-1] for line in ask(bed, "web").answer}
    assert targets == {"alpha-53.web.minidisc.", "alpha-53-udp.web.minidisc."}
    assert {line.split()[-1] for line in ask(bed, "_web._udp").answer} == {"alpha-53-udp.web.minidisc."}
    assert {line.split()[-1] for line in ask(bed, "_web._tcp").answer} == {"alpha-53.web.minidisc."}


def test_what_one_process_withdraws_another_of_the_same_endpoint_keeps(bed: Bed) -> None:
    """And it is as old as the older of the two."""
    do(bed, "first", "registry.advertise_service(9001, 'web', {})")
    since = ask(bed, "alpha-9001.web", "TXT").answer
    assert "md.since" in str(since)
    time.sleep(0.05)
    other = python(bed, CLOSES, "withdraw")
    assert ask(bed, "alpha-9001.web", "TXT").answer == since
    other.signal(signal.SIGUSR1)
    other.wait_for("done")
    time.sleep(0.1)
    assert ports(bed) == {9001}


def test_two_users_of_one_host(bed: Bed) -> None:
    """Whoever of them holds: the other's services are told, and survive the end of either."""
    if not bed.namespaces:
        pytest.skip("another user wants root, as namespaces do")
    alpha = bed.host("alpha")
    for path, mode in ((alpha.socket, 0o666), (alpha.directory, 0o755), (alpha.directory.parent, 0o755)):
        path.chmod(mode)  # tailscaled's is for everybody
    other = started(alpha, 9002, uid=65534)
    own = started(alpha, 9001)
    assert ports(bed) == {9001, 9002}
    other.kill()  # the holder, which is the other user's: root goes on with its sockets
    assert wait_until(lambda: ports(bed) == {9001})
    again = started(alpha, 9003, uid=65534)
    own.kill()  # and the reverse
    assert wait_until(lambda: ports(bed) == {9003})
    assert again.stdout.split()[-1] == "holder"
