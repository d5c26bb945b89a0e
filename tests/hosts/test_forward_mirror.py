"""`md forward` follows the network by push: what a host changes, the forwarder's clients and secondaries see soon."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Iterator
from typing import Final

import dns.message
import dns.query
import dns.rdatatype
import pytest
from bed import minidisc
from bed.dig import dig
from bed.freshness import seen_by_questions
from bed.hosts import Bed, Host
from bed.process import wait_until
from conftest import MakeBed, Measured
from forwarding import HERE, ask, forward, nameserver
from watch_programs import SOON, changer, spread

from mddns.directory.keeping_up import HELD

pytestmark = pytest.mark.namespaces

CHANGES: Final = 100


@pytest.fixture
def bed(make_bed: MakeBed) -> Iterator[Bed]:
    return make_bed(["alpha", "bravo", "charlie"])


def mirrored(host: Host) -> None:
    """Waits until the forwarder there has a session with everybody: a change is known at once."""
    time.sleep(1.5)  # sessions are begun behind the first answer
    assert ask(host, "web.minidisc", "TXT").answer


@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside a holder"])
def test_a_change_is_seen_by_the_forwarders_clients_at_once(bed: Bed, measured: Measured, beside: bool) -> None:
    """On another host, through a name that is asked for all the time, so that its answer is always a kept one."""
    alpha, bravo = bed.host("alpha"), bed.host("bravo")
    if beside:
        bravo.start(["md", "advertise", "db", ":5432"]).wait_for("advertised")
    process = changer(alpha, 80, CHANGES, 0.05)
    forward(bravo, "--upstream", bed.host("charlie").ipv4)
    mirrored(bravo)
    process.signal(signal.SIGUSR1)
    took = bravo.call(seen_by_questions, HERE, CHANGES - 1)
    measured(f"forwarder: a change on another host is in its answers after {spread(took)}, holder: {beside}")
    assert len(took) >= 0.9 * CHANGES
    assert sorted(took)[len(took) * 99 // 100] < SOON


def told_by_notify(count: int, patience: float = 30.0) -> list[float]:
    """Hears NOTIFY at port 5301, answers it as a secondary does, and asks for the label ``t`` then."""
    took, until = [], time.monotonic() + patience
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind((HERE, 5301))
        sock.settimeout(0.5)
        while len(took) < count and time.monotonic() < until:
            try:
                wire, source = sock.recvfrom(4096)
            except TimeoutError:
                continue
            now = time.monotonic()
            sock.sendto(wire[:2] + bytes((wire[2] | 0x80,)) + wire[3:], source)
            found = dns.query.udp(dns.message.make_query("web.minidisc", "TXT"), HERE, timeout=5)
            said = [bytes(rdata.strings[0]).decode() for rrset in found.answer for rdata in rrset]
            if said and said[0].startswith("t="):
                took.append(now - float(said[0][2:]))
    return took


def test_secondaries_hear_of_a_change_at_once(bed: Bed, measured: Measured) -> None:
    """Who was told less than a second before waits for that second to pass."""
    alpha, bravo = bed.host("alpha"), bed.host("bravo")
    process = changer(alpha, 80, 4, 2.2)
    forward(bravo, "--upstream", bed.host("charlie").ipv4, "--notify", f"{HERE}#5301")
    mirrored(bravo)
    process.signal(signal.SIGUSR1)
    took = bravo.call(told_by_notify, 4)
    measured(f"forwarder: NOTIFY of a change on another host after {spread(took)}")
    assert len(took) == 4
    assert sorted(took)[len(took) // 2] < SOON


def test_what_is_asked_costs_no_network(bed: Bed) -> None:
    """A hundred questions, by name, for everything, of what is not there: nothing but the watcher's own comes by."""
    alpha, bravo = bed.host("alpha"), bed.host("bravo")
    changer(alpha)
    forward(bravo, "--upstream", bed.host("charlie").ipv4)
    mirrored(bravo)

    def sent() -> int:
        lines = bravo.run(["cat", "/proc/net/snmp"]).stdout.splitlines()
        names, values = (line.split() for line in lines if line.startswith("Udp:"))
        return int(values[names.index("OutDatagrams")])

    def ask_a_lot() -> int:
        asked = 0
        for number in range(25):
            for name, rtype in (("web", "SRV"), ("_list", "PTR"), (f"n{number}", "A"), (f"n{number}._env", "TXT")):
                found = dns.query.udp(dns.message.make_query(f"{name}.minidisc", rtype), HERE, timeout=5)
                assert found.rcode() in (0, 3)
                asked += 1
        return asked

    before, begun = sent(), time.monotonic()
    asked = bravo.call(ask_a_lot)
    took = time.monotonic() - begun
    # Each question and its answer, and three hosts that are asked for their serials or services as it is.
    assert sent() - before - 2 * asked <= 3 * (5 + took * 2)
    assert ask(bravo, "n1.minidisc").rcode == "NXDOMAIN"


def test_hosts_of_minidisc_alone_are_followed_by_asking_them(bed: Bed) -> None:
    """They speak no DNS: /services tells what they offer."""
    alpha, bravo = bed.host("alpha"), bed.host("bravo")
    with minidisc.registry(alpha, ("web", 8080, {})):
        forward(bravo, "--upstream", bed.host("charlie").ipv4)
        offered = {"web.minidisc. SRV 10 10 8080 alpha-8080.web.minidisc."}
        assert wait_until(lambda: ask(bravo, "web.minidisc", "SRV").answer == offered, 15)
    with minidisc.registry(alpha, ("web", 8081, {})):
        offered = {"web.minidisc. SRV 10 10 8081 alpha-8081.web.minidisc."}
        assert wait_until(lambda: ask(bravo, "web.minidisc", "SRV").answer == offered, 15)
    assert wait_until(lambda: ask(bravo, "web.minidisc", "SRV").rcode == "NXDOMAIN", 15)


@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside a holder"])
def test_a_host_behind_a_cut_cable_is_named_and_its_services_stay(bed: Bed, beside: bool) -> None:
    alpha, bravo = bed.host("alpha"), bed.host("bravo")
    if beside:
        bravo.start(["md", "advertise", "db", ":5432"]).wait_for("advertised")
    changer(alpha)
    forward(bravo, "--upstream", bed.host("charlie").ipv4)
    mirrored(bravo)
    bed.cut("alpha")
    assert wait_until(lambda: "EDE: 23" in ask(bravo, "web.minidisc", "SRV").text, 12)
    known, unknown = ask(bravo, "web.minidisc", "SRV"), ask(bravo, "nothing.minidisc", "SRV")
    assert "alpha" in known.text
    assert len(known.answer) == 1
    assert (unknown.rcode, "EDE: 22" in unknown.text) == ("SERVFAIL", True)
    bed.heal("alpha")
    assert wait_until(lambda: ask(bravo, "web.minidisc", "SRV").answer == known.answer, 15)


def test_it_stays_up_through_all_of_it(bed: Bed) -> None:
    """SIGHUPs while services change, an upstream dies, a host and Tailscale itself are away; then all is as before."""
    alpha, bravo, charlie = (bed.host(name) for name in ("alpha", "bravo", "charlie"))
    process = changer(alpha, 80, 60, 0.1)
    upstream = nameserver(charlie)
    forwarder = forward(bravo, "--upstream", charlie.ipv4, "--notify", f"{HERE}#5301")
    mirrored(bravo)
    process.signal(signal.SIGUSR1)
    for _ in range(10):
        forwarder.signal(signal.SIGHUP)
        assert ask(bravo, "web.minidisc", "SRV").answer
    upstream.kill()
    bed.cut("charlie")
    bravo.tailscaled.stop()
    forwarder.signal(signal.SIGHUP)
    forwarder.wait_for("the network is lost", 15)
    assert ask(bravo, "web.minidisc", "SRV").answer
    bed.heal("charlie")
    bravo.tailscaled.start()
    forwarder.signal(signal.SIGHUP)
    forwarder.wait_for("the network is back", 15)
    nameserver(charlie)
    process.wait_for("done", 30)
    last = dig(bravo, alpha.ipv4, "web.minidisc", "TXT", "+norec").answer
    assert wait_until(lambda: bool(ask(bravo, "www.example").answer), 15)
    assert last
    assert wait_until(lambda: ask(bravo, "web.minidisc", "TXT").answer == last, 15)
    assert forwarder.terminate() == 0
    assert "Traceback" not in forwarder.stderr


def test_the_first_answer_after_it_was_stopped_is_of_now(bed: Bed) -> None:
    """What it was told before is out of date, and it has not had a turn yet: it asks, as any node would."""
    alpha, bravo = bed.host("alpha"), bed.host("bravo")
    with changer(alpha, 80) as process:
        forwarder = forward(bravo, "--upstream", bed.host("charlie").ipv4)
        mirrored(bravo)
        forwarder.signal(signal.SIGSTOP)
        stopped = time.monotonic()
        process.kill()
    changer(alpha, 81)
    time.sleep(max(0.0, stopped + HELD + 0.1 - time.monotonic()))
    asking = bravo.start(["dig", f"@{HERE}", "+tries=1", "+time=5", "+short", "web.minidisc", "SRV"])
    time.sleep(0.2)  # it is in the socket before anything else is
    forwarder.signal(signal.SIGCONT)
    assert wait_until(lambda: bool(asking.stdout), 5)
    assert asking.stdout == "10 10 81 alpha-81.web.minidisc.\n"
