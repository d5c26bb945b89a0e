"""`md forward` on hosts of their own: real dnsmasq and unbound behind it, real programs before it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import sys
import time
from pathlib import Path

import pytest
from bed.dig import need
from bed.embedded import readable_code
from bed.hosts import DEVICE, Bed, Host
from bed.process import wait_until
from bed.resolvconf import resolv_conf
from conftest import MakeBed
from forwarding import HERE, ask, forward, nameserver

pytestmark = pytest.mark.namespaces


@pytest.fixture
def bed(make_bed: MakeBed) -> Bed:
    """alpha offers web; bravo forwards; a name server runs on charlie."""
    bed = make_bed(["alpha", "bravo", "charlie"])
    bed.host("alpha").start(["md", "advertise", "web", ":8080", "env=prod"]).wait_for("advertised")
    return bed


# The resolver of a machine


@pytest.mark.quick
def test_every_program_of_a_machine_finds_our_names_and_others(bed: Bed) -> None:
    """Port 53, resolv.conf, and libc: nobody knows of mddns."""
    nameserver(bed.host("charlie"))
    bravo = bed.host("bravo")
    with resolv_conf(bravo, f"nameserver {HERE}\nsearch prod._env.minidisc\n"):
        forward(bravo, "--upstream", bed.host("charlie").ipv4)
        lookup = "import socket; print(*sorted({each[4][0] for each in socket.getaddrinfo(%r, 80)}))"
        found = {
            name: bravo.run(["python", "-c", lookup % name]).stdout.strip()
            for name in ("web.minidisc", "web", "www.example")
        }
        assert found == {
            "web.minidisc": bed.host("alpha").ipv4,
            "web": bed.host("alpha").ipv4,
            "www.example": "192.0.2.1",
        }
        assert "192.0.2.1" in bravo.run(["getent", "ahostsv4", "www.example"]).stdout
        missing = bravo.run(["python", "-c", lookup % "no.example"])
        assert "gaierror" in missing.stderr


@pytest.mark.parametrize("options", ["use-vc", "edns0", "single-request", "trust-ad"])
def test_libc_with_options(bed: Bed, options: str) -> None:
    nameserver(bed.host("charlie"))
    bravo = bed.host("bravo")
    with resolv_conf(bravo, f"nameserver {HERE}\noptions {options}\n"):
        forward(bravo, "--upstream", bed.host("charlie").ipv4)
        for name, address in (("web.minidisc", bed.host("alpha").ipv4), ("www.example", "192.0.2.1")):
            assert address in bravo.run(["getent", "ahostsv4", name]).stdout


@pytest.mark.quick
def test_both_families_and_both_transports(bed: Bed) -> None:
    nameserver(bed.host("charlie"))
    bravo = bed.host("bravo")
    forward(bravo, "--listen", f"{HERE}:53", "--listen", "[::1]:53", "--upstream", bed.host("charlie").ipv4)
    for at in (HERE, "::1"):
        for transport in ("+notcp", "+tcp"):
            assert ask(bravo, "www.example", "A", transport, at=at).answer == {"www.example. A 192.0.2.1"}
            assert ask(bravo, "web.minidisc", "SRV", transport, at=at).answer


def test_services_of_the_forwarders_own_host_are_found_and_its_holder_is_not_disturbed(bed: Bed) -> None:
    bravo = bed.host("bravo")
    with bravo.start(["md", "advertise", "web", ":9090"]) as holder:
        holder.wait_for("advertised")
        with forward(bravo) as forwarder:
            assert len(ask(bravo, "web.minidisc", "SRV").answer) == 2
            assert len(ask(bravo, "web.minidisc", "SRV", at=bravo.ipv4, port=28004).answer) == 2
            assert forwarder.terminate() == 0
        assert len(ask(bravo, "web.minidisc", "SRV", at=bravo.ipv4, port=28004).answer) == 2


# Upstreams


@pytest.mark.parametrize("validates", [False, True])
def test_unbound_as_upstream(bed: Bed, validates: bool) -> None:
    """It sets AD for what it has from a zone that it trusts; we pass it on to who asks for it."""
    need("unbound")
    charlie, bravo = bed.host("charlie"), bed.host("bravo")
    records = [
        *('local-data: "www.example. 60 A 192.0.2.1"', 'local-data: "alias.example. 60 CNAME www.example."'),
        *('local-data: "_x._tcp.example. 60 SRV 1 2 3 www.example."', 'local-zone: "example." static'),
        'local-data: "example. 60 SOA ns.example. root.example. 1 2 3 4 60"',
        *(f'local-data: "big.example. 60 TXT {n:03d}{"x" * 200}"' for n in range(20)),
    ]
    conf = charlie.directory / "unbound.conf"
    conf.write_text(
        f'server:\n interface: {charlie.ipv4}\n do-daemonize: no\n chroot: ""\n username: ""\n pidfile: ""\n'
        f' directory: "{charlie.directory}"\n use-syslog: no\n access-control: 0.0.0.0/0 allow\n num-threads: 1\n'
        f' module-config: "{"validator iterator" if validates else "iterator"}"\n'
        + "".join(f" {line}\n" for line in records)
        + "remote-control:\n control-enable: no\n"
    )
    charlie.start(["unbound", "-d", "-c", str(conf)]).wait_for("start of service", 10)
    forward(bravo, "--upstream", charlie.ipv4)
    assert ask(bravo, "www.example").answer == {"www.example. A 192.0.2.1"}
    assert ask(bravo, "_x._tcp.example", "SRV").answer == {"_x._tcp.example. SRV 1 2 3 www.example."}
    assert len(ask(bravo, "big.example", "TXT").answer) == 20  # TC on both ways, TCP on both
    denied = ask(bravo, "no.example")
    assert (denied.rcode, len(denied.authority)) == ("NXDOMAIN", 1)
    assert ask(bravo, "www.example", "MX").rcode == "NOERROR"
    assert "ad" not in ask(bravo, "www.example", "A", "+noadflag").flags


def test_failover_when_an_upstream_dies_and_back(bed: Bed) -> None:
    charlie, bravo = bed.host("charlie"), bed.host("bravo")
    first = nameserver(charlie, "address=/example/192.0.2.1", address=charlie.ipv4)
    nameserver(bed.host("alpha"), "address=/example/192.0.2.2", address=bed.host("alpha").ipv4)
    forward(bravo, "--upstream", charlie.ipv4, "--upstream", bed.host("alpha").ipv4)

    def who(name: str) -> str:
        (line,) = ask(bravo, name).answer
        return line.split()[-1]

    assert who("a.example") == "192.0.2.1"
    first.kill()
    assert who("b.example") == "192.0.2.2"
    nameserver(charlie, "address=/example/192.0.2.1", address=charlie.ipv4, port=53)
    numbers = iter(range(10_000))
    assert wait_until(lambda: who(f"{next(numbers)}.example") == "192.0.2.1", 20)


def test_an_upstream_behind_a_cut_cable_is_replaced_within_250_ms(bed: Bed) -> None:
    charlie, bravo = bed.host("charlie"), bed.host("bravo")
    nameserver(charlie, "address=/example/192.0.2.1")
    nameserver(bed.host("alpha"), "address=/example/192.0.2.2")
    forward(bravo, "--upstream", charlie.ipv4, "--upstream", bed.host("alpha").ipv4)
    ask(bravo, "a.example")
    bed.cut("charlie")
    for n in range(5):
        found = ask(bravo, f"{n}.example")
        assert found.answer == {f"{n}.example. A 192.0.2.2"}
        took = re.search(r"Query time: (\d+) msec", found.text)
        assert took
        assert int(took[1]) < 250


def link_local(host: Host, number: int) -> str:
    """Gives its interface an address of the kind that hosts of a bed have none of."""
    host.run(["ip", "-6", "addr", "add", f"fe80::{number}/64", "dev", DEVICE, "nodad"])
    return f"fe80::{number}"


@pytest.mark.parametrize("said", ["upstream", "number", "resolv.conf"])
def test_an_upstream_at_a_link_local_address_is_asked_through_its_interface(bed: Bed, said: str) -> None:
    """As routers announce them (RFC 8106); over UDP, and over TCP where that is cut off."""
    charlie, bravo = bed.host("charlie"), bed.host("bravo")
    address = link_local(charlie, 53)
    link_local(bravo, 2)
    big = [f"txt-record=big.example,{n:03d}{'x' * 200}" for n in range(20)]
    nameserver(charlie, "host-record=www.example,192.0.2.1", *big, interface=DEVICE)
    number = bravo.run(["cat", f"/sys/class/net/{DEVICE}/ifindex"]).stdout.strip()
    where = f"{address}%{number if said == 'number' else DEVICE}"
    if said == "resolv.conf":
        file = bravo.directory / "upstreams"
        file.write_text(f"nameserver {where}\n")
        process = forward(bravo, "--resolv-conf", str(file))
    else:
        process = forward(bravo, "--upstream", where)
    assert f"all others from {where}" in process.stderr
    assert ask(bravo, "www.example").answer == {"www.example. A 192.0.2.1"}
    assert len(ask(bravo, "big.example", "TXT").answer) == 20


def test_an_upstream_at_an_interface_that_is_not_there_is_as_one_that_is_silent(bed: Bed) -> None:
    charlie, bravo = bed.host("charlie"), bed.host("bravo")
    nameserver(charlie)
    forward(bravo, "--upstream", "fe80::53%nowhere0", "--upstream", charlie.ipv4)
    assert ask(bravo, "www.example").answer == {"www.example. A 192.0.2.1"}


def test_all_upstreams_gone_is_a_servfail_with_a_reason_and_what_was_known_goes_on(bed: Bed) -> None:
    charlie, bravo = bed.host("charlie"), bed.host("bravo")
    with nameserver(charlie, "host-record=www.example,192.0.2.1,2"):
        forward(bravo, "--upstream", charlie.ipv4)
        ask(bravo, "www.example")
        bed.cut("charlie")
        failed = ask(bravo, "new.example")
        assert failed.rcode == "SERVFAIL"
        assert "EDE: 22" in failed.text
        stale = ask(bravo, "www.example")
        assert stale.answer == {"www.example. A 192.0.2.1"}
        assert stale.ttls == {30}
        assert "EDE: 3" in stale.text
        bed.heal("charlie")


def test_a_resolv_conf_that_changes_is_followed_and_one_that_names_us_alone_is_said(bed: Bed) -> None:
    charlie, bravo = bed.host("charlie"), bed.host("bravo")
    nameserver(charlie, "address=/example/192.0.2.1")
    nameserver(bed.host("alpha"), "address=/example/192.0.2.2")
    file = bravo.directory / "upstreams"
    file.write_text(f"nameserver {charlie.ipv4}\n")
    process = forward(bravo, "--resolv-conf", str(file))
    assert ask(bravo, "a.example").answer == {"a.example. A 192.0.2.1"}
    file.write_text(f"nameserver {bed.host('alpha').ipv4}\n")
    begun = time.monotonic()
    assert wait_until(lambda: ask(bravo, "a.example").answer == {"a.example. A 192.0.2.2"}, 5)
    assert time.monotonic() - begun < 2
    file.write_text(f"nameserver {HERE}\n")
    assert wait_until(lambda: ask(bravo, "b.example").rcode == "SERVFAIL", 5)
    process.wait_for(f"{file} names {HERE}, where md forward itself answers; ignored")
    process.wait_for("--upstream ADDRESS")
    assert ask(bravo, "web.minidisc", "SRV").answer


def test_sighup_forgets_what_upstreams_said(bed: Bed) -> None:
    charlie, bravo = bed.host("charlie"), bed.host("bravo")
    first = nameserver(charlie, "host-record=www.example,192.0.2.1,3600")
    process = forward(bravo, "--upstream", charlie.ipv4)
    assert ask(bravo, "www.example").answer == {"www.example. A 192.0.2.1"}
    first.kill()
    nameserver(charlie, "host-record=www.example,192.0.2.2,3600")
    assert ask(bravo, "www.example").answer == {"www.example. A 192.0.2.1"}
    process.signal(signal.SIGHUP)
    process.wait_for("read again")
    assert ask(bravo, "www.example").answer == {"www.example. A 192.0.2.2"}


def test_a_circle_through_another_resolver_of_this_machine_is_found_out(bed: Bed) -> None:
    """We ask dnsmasq, and dnsmasq asks us."""
    bravo = bed.host("bravo")
    process = bravo.start(["md", "forward", "--upstream", f"{HERE}#5399", "--upstream", bed.host("charlie").ipv4])
    nameserver(bravo, f"server={HERE}#53", address=HERE, port=5399)
    nameserver(bed.host("charlie"))
    process.wait_for("Ctrl-C ends it")
    process.signal(signal.SIGHUP)
    wait_until(lambda: "sends our queries back" in process.stderr or not ask(bravo, "x.circle").rcode, 10)
    process.wait_for(f"upstream {HERE}#5399 sends our queries back to us")
    assert ask(bravo, "www.example").answer == {"www.example. A 192.0.2.1"}


# It stays up


def test_without_tailscaled_other_names_are_answered_and_ours_when_it_comes(bed: Bed) -> None:
    nameserver(bed.host("charlie"))
    bravo = bed.host("bravo")
    bravo.tailscaled.stop()
    process = forward(bravo, "--upstream", bed.host("charlie").ipv4)
    process.wait_for("tailscaled is not running")
    assert ask(bravo, "www.example").answer
    ours = ask(bravo, "web.minidisc", "SRV")
    assert ours.rcode == "SERVFAIL"
    assert "EDE: 14" in ours.text
    bravo.tailscaled.start()
    assert wait_until(lambda: bool(ask(bravo, "web.minidisc", "SRV").answer), 10)
    bravo.tailscaled.stop()
    time.sleep(6)
    assert ask(bravo, "www.example").answer
    assert ask(bravo, "web.minidisc", "SRV").answer
    bravo.tailscaled.start()
    assert process.terminate() == 0


# Off loopback


def test_off_loopback_our_names_are_for_the_network_and_others_for_nobody(bed: Bed) -> None:
    nameserver(bed.host("charlie"))
    alpha, bravo = bed.host("alpha"), bed.host("bravo")
    argv = ["--listen", f"{HERE}:53", "--listen", f"{bravo.ipv4}:53", "--upstream", bed.host("charlie").ipv4]
    forward(bravo, *argv).wait_for("only names under minidisc")
    assert ask(bravo, "www.example").answer
    for transport in ("+notcp", "+tcp"):
        assert ask(alpha, "web.minidisc", "SRV", transport, at=bravo.ipv4).answer
        assert ask(alpha, "web.minidisc", "SRV", "+norec", transport, at=bravo.ipv4).answer
        for name in ("www.example", ".", "minidisc.example", "xminidisc"):
            refused = ask(alpha, name, "A", transport, at=bravo.ipv4)
            assert (refused.rcode, refused.answer) == ("REFUSED", set())
            assert "EDE: 18" in refused.text


def test_off_loopback_what_was_kept_for_this_machine_is_not_told(bed: Bed) -> None:
    nameserver(bed.host("charlie"))
    alpha, bravo = bed.host("alpha"), bed.host("bravo")
    forward(bravo, "--listen", f"{HERE}:53", "--listen", f"{bravo.ipv4}:53", "--upstream", bed.host("charlie").ipv4)
    ask(bravo, "www.example", "A", "+nocookie")
    assert ask(alpha, "www.example", "A", "+nocookie", at=bravo.ipv4).rcode == "REFUSED"


def test_a_stranger_gets_a_few_refusals_a_second_and_nothing_else(bed: Bed) -> None:
    bravo, mallory = bed.host("bravo"), bed.host("alpha")
    bed.tailnet.remove(mallory.node)
    forward(bravo, "--listen", f"{bravo.ipv4}:53")
    assert ask(mallory, "web.minidisc", "SRV", at=bravo.ipv4).rcode == "REFUSED"

    def flood() -> int:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect((bravo.ipv4, 53))
            sock.settimeout(0.5)
            for ident in range(300):
                sock.send(ident.to_bytes(2, "big") + b"\1\0\0\1\0\0\0\0\0\0\3web\x08minidisc\0\0\x21\0\1")
            count = 0
            with contextlib.suppress(TimeoutError):
                while True:
                    assert sock.recv(512)[3] & 15 == 5
                    count += 1
            return count

    assert 1 <= mallory.call(flood) <= 10


def test_recursive_says_so_loudly_and_answers(bed: Bed) -> None:
    nameserver(bed.host("charlie"))
    alpha, bravo = bed.host("alpha"), bed.host("bravo")
    argv = ["--listen", f"{bravo.ipv4}:53", "--recursive", "--upstream", bed.host("charlie").ipv4]
    forward(bravo, *argv).wait_for("WARNING: --recursive")
    assert ask(alpha, "www.example", at=bravo.ipv4).answer
    bed.tailnet.remove(alpha.node)
    assert wait_until(lambda: ask(alpha, "web.minidisc", "SRV", at=bravo.ipv4).rcode == "REFUSED", 10)
    assert ask(alpha, "www.example", at=bravo.ipv4).answer  # its address is a private one


def test_an_address_that_comes_later_is_answered_at_when_it_is_there(bed: Bed) -> None:
    bravo = bed.host("bravo")
    process = forward(bravo, "--listen", "100.99.0.1:53")
    process.wait_for("does not have the address 100.99.0.1 yet")
    bravo.run(["ip", "addr", "add", "100.99.0.1/32", "dev", "lo"])
    process.wait_for("answering at 100.99.0.1:53 from now on")
    bed.tailnet.nodes[1].addresses = (*bed.tailnet.nodes[1].addresses, "100.99.0.1")
    assert ask(bravo, "minidisc", "SOA", at="100.99.0.1").rcode in ("NOERROR", "REFUSED")


# systemd


# A program that may bind no port below 1024, whoever runs it, becomes `md`.
_WITHOUT_PRIVILEGE = (
    "import ctypes, os, socket, sys\n"
    "assert ctypes.CDLL(None).prctl(24, 10, 0, 0, 0) == 0  # PR_CAPBSET_DROP, CAP_NET_BIND_SERVICE\n"
)
_BECOME_MD = "os.execv(sys.executable, [sys.executable, '-m', 'mddns', *sys.argv[1:]])\n"
_BIND_53 = (
    "import os, socket, sys\n"
    "made = [socket.socket(type=kind) for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM)]\n"
    "for sock in made:\n"
    "    sock.bind(('127.0.0.1', 53))\n"
    "made[1].listen()\n"
    "copies = [os.dup(sock.fileno()) for sock in made]\n"
    "for number, copy in zip((3, 4), copies):\n"
    "    os.dup2(copy, number, inheritable=True)\n"
    "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='2', LISTEN_FDNAMES='dns:dns')\n"
)


def test_sockets_that_systemd_has_bound_are_taken_over_without_any_privilege(bed: Bed) -> None:
    """By hand, as systemd does it: descriptors from 3 on, LISTEN_PID, LISTEN_FDS."""
    nameserver(bed.host("charlie"))
    bravo = bed.host("bravo")
    script = _BIND_53 + _WITHOUT_PRIVILEGE + _BECOME_MD
    process = bravo.start(["python", "-c", script, "forward", "--upstream", bed.host("charlie").ipv4])
    process.wait_for(f"answering at {HERE}:53")
    for transport in ("+notcp", "+tcp"):
        assert ask(bravo, "www.example", "A", transport).answer == {"www.example. A 192.0.2.1"}
    assert ask(bravo, "web.minidisc", "SRV").answer
    assert process.terminate() == 0


def test_who_may_not_bind_port_53_answers_at_5354_and_is_told_the_remedy(bed: Bed) -> None:
    bravo = bed.host("bravo")
    process = bravo.start(["python", "-c", _WITHOUT_PRIVILEGE + _BECOME_MD, "forward"])
    said = process.wait_for("answering at")
    assert f"{HERE}:5354 (UDP {HERE}:53 may not be bound by this user: ports below 1024 need root)" in said
    process.wait_for("as root or through systemd; see docs/forward.md")
    assert ask(bravo, "web.minidisc", "SRV", port=5354).answer


@pytest.mark.parametrize(("kind", "transport"), [("stream", "+tcp"), ("datagram", "+notcp")])
def test_systemds_own_program_hands_port_53_to_a_user_without_privileges(bed: Bed, kind: str, transport: str) -> None:
    need("systemd-socket-activate")
    nameserver(bed.host("charlie"))
    bravo = bed.host("bravo")
    environment = {**bravo.env, **readable_code(bravo)}
    passed = [f"--setenv={name}={environment[name]}" for name in ("PYTHONPATH", "TS_SOCKET", "HOME")]
    argv = ["systemd-socket-activate", "-l", f"{HERE}:53", *(["-d"] if kind == "datagram" else ["--fdname=dns"])]
    argv += [*passed, "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable, "-m", "mddns"]
    process = bravo.start([*argv, "forward", "--upstream", bed.host("charlie").ipv4], {"SYSTEMD_LOG_TARGET": "console"})
    process.wait_for("Listening on")
    # It starts the program with the first connection, or datagram, which then waits in the socket.
    assert ask(bravo, "www.example", "A", transport).answer == {"www.example. A 192.0.2.1"}
    process.wait_for("answering at 127.0.0.1:53")
    assert ask(bravo, "web.minidisc", "SRV", transport).answer, process.stderr
    status = Path(f"/proc/{process.pid}/status").read_text()
    assert re.search(r"^Uid:\s+65534\s+65534", status, re.MULTILINE), status


# What is said


def test_without_port_53_it_answers_at_5354_and_says_why(bed: Bed) -> None:
    bravo = bed.host("bravo")
    taken = bravo.call(socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
    with taken:
        taken.bind((HERE, 53))
        process = forward(bravo)
        said = process.wait_for("answering at")
        assert said.startswith(
            f"md: answering at {HERE}:5354 (UDP {HERE}:53 is in use by another program (pid {os.getpid()}"
        )
        process.wait_for(f"let this machine's resolver send queries for minidisc to {HERE} port 5354")
        assert ask(bravo, "web.minidisc", "SRV", port=5354).answer
        assert process.terminate() == 0


def test_a_place_that_was_asked_for_and_is_taken_is_an_error(bed: Bed) -> None:
    bravo = bed.host("bravo")
    taken = bravo.call(socket.socket, socket.AF_INET, socket.SOCK_STREAM)
    with taken:
        taken.bind((HERE, 53))
        taken.listen()
        done = bravo.run(["md", "forward", "--listen", f"{HERE}:53"])
        assert done.returncode == 3
        assert re.fullmatch(
            rf"md: TCP {HERE}:53 is in use by another program \(pid \d+, .*\): end it, or use another address with "
            r"--listen ADDRESS:PORT\n",
            done.stderr,
        )
