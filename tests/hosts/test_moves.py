"""A network that is not there yet, goes, comes back, or is another one: nobody has to be started again.

Programs run on hosts; what they see of Tailscale is played, and so are its addresses.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable

import pytest
from bed.dig import dig
from bed.host import PORT, Host
from bed.hosts import DEVICE, Bed
from bed.process import Process, wait_until
from bed.tailnet import Node, Tailnet
from conftest import MakeBed, Measured

pytestmark = pytest.mark.namespaces

# A program that finds services all the while, as blocking code and in an event loop: a line for each answer.
FINDER = """
import asyncio, sys, time, mddns, mddns.aio
def told(found): return " ".join(sorted(f"{each.name}@{each.endpoint}" for each in found))
async def main():
    async with mddns.aio.Resolver() as aio:
        with mddns.Resolver() as blocking:
            while True:
                for kind in ("blocking", "aio"):
                    try:
                        found = blocking.list_services() if kind == "blocking" else await aio.list_services()
                        print(kind, told(found) or "nothing", flush=True)
                    except mddns.Error as error:
                        print(kind, "error:", error, flush=True)
                await asyncio.sleep(0.1)
asyncio.run(main())
"""


@pytest.fixture
def bed(make_bed: MakeBed) -> Bed:
    return make_bed(["alpha", "bravo"])


def advertise(host: Host, *words: str) -> Process:
    process = host.start(["md", "advertise", "-v", *words])
    process.wait_for("advertised", timeout=20)
    return process


def ring(bed: Bed) -> None:
    """Every daemon tells those who listen to it that something has changed."""
    for host in bed.hosts:
        host.tailscaled.ring()


def ip(host: Host, *words: str) -> None:
    done = host.run(["ip", *words])
    assert done.returncode == 0, done.stderr


def readdress(host: Host, address: str) -> None:
    """Its only IPv4 address is this one now."""
    ip(host, "address", "flush", "dev", DEVICE, "scope", "global", "to", "100.64.0.0/10")
    ip(host, "address", "add", f"{address}/10", "dev", DEVICE)


def seen(host: Host, asked: str, rd: str = "+rec") -> set[str]:
    """The instances that a node tells of."""
    reply = dig(host, asked, "_list.minidisc", "PTR", rd, "+tcp", "+time=2", "+tries=1")
    return {line.split()[-1].removesuffix(".minidisc.") for line in reply.answer}


def soon(condition: Callable[[], bool], timeout: float = 15.0) -> float:
    begun = time.monotonic()
    assert wait_until(condition, timeout)
    return time.monotonic() - begun


# Not there yet


@pytest.mark.parametrize("command", [["advertise", "web", ":80"], ["run", "web", ":80", "--", "sleep", "60"]])
def test_tailscaled_that_comes_up_later_is_waited_for_and_that_is_said_once(bed: Bed, command: list[str]) -> None:
    alpha, bravo = bed.hosts
    alpha.tailscaled.stop()
    with alpha.socket_tcp(80), alpha.start(["md", *command]) as process:
        line = process.wait_for("waiting for Tailscale: ")
        assert "tailscaled is not running: there is no socket" in line
        assert line.endswith("; Ctrl-C to give up")
        time.sleep(1.2)  # several attempts
        alpha.tailscaled.mode = "starting"
        alpha.tailscaled.start()
        process.wait_for("waiting for Tailscale: Tailscale is starting")
        alpha.tailscaled.mode = "ok"
        process.wait_for("advertised", timeout=10)
        assert bravo.run(["md", "find", "web"]).stdout == f"{alpha.ipv4}:80\n"
        assert process.stderr.count("waiting for") == 2


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_who_waits_can_be_told_to_give_up(bed: Bed, number: int, status: int) -> None:
    alpha = bed.host("alpha")
    alpha.tailscaled.stop()
    process = alpha.start(["md", "advertise", "web", ":80"])
    process.wait_for("waiting for Tailscale")
    process.signal(number)
    assert process.wait() == status
    assert "Traceback" not in process.stderr


@pytest.mark.parametrize(("flags", "env"), [(["--wait", "0"], {}), ([], {"MDDNS_WAIT": "0"})], ids=["flag", "variable"])
def test_waiting_for_0_seconds_is_failing_at_once(bed: Bed, flags: list[str], env: dict[str, str]) -> None:
    alpha = bed.host("alpha")
    alpha.tailscaled.stop()
    done = alpha.run(["md", "advertise", *flags, "web", ":80"], env=env)
    assert done.returncode == 3
    assert "waiting" not in done.stderr
    assert "tailscaled is not running" in done.stderr


def test_waiting_has_an_end_where_it_is_told_one(bed: Bed) -> None:
    alpha = bed.host("alpha")
    alpha.tailscaled.stop()
    done = alpha.run(["md", "advertise", "--wait", "0.7", "web", ":80"])
    assert done.returncode == 3
    assert [line.startswith("md: waiting for") for line in done.stderr.splitlines()] == [True, False]


def test_an_address_that_the_machine_has_not_got_yet_is_waited_for(bed: Bed) -> None:
    """Tailscale tells it a moment before the kernel has it."""
    alpha = bed.host("alpha")
    ip(alpha, "address", "del", f"{alpha.ipv4}/10", "dev", DEVICE)
    with alpha.start(["md", "advertise", "web", ":80"]) as process:
        process.wait_for(f"waiting for the network: {alpha.ipv4} is no address of this machine")
        ip(alpha, "address", "add", f"{alpha.ipv4}/10", "dev", DEVICE)
        process.wait_for("advertised", timeout=10)


# Gone and back


def test_a_network_that_is_gone_for_10_seconds_is_back_with_all_that_was_there(bed: Bed, measured: Measured) -> None:
    alpha, bravo = bed.hosts
    web, _ = advertise(alpha, "web", ":80"), advertise(bravo, "db", ":5432")
    tenant = advertise(alpha, "cache", ":81")
    everything = {"alpha-80.web", "alpha-81.cache", "bravo-5432.db"}
    soon(lambda: seen(bravo, alpha.ipv4) == everything)
    alpha.tailscaled.mode = "stopped"
    alpha.tailscaled.ring(State=4)
    ip(alpha, "address", "del", f"{alpha.ipv4}/10", "dev", DEVICE)
    for process in (web, tenant):
        process.wait_for("the network is lost: Tailscale is stopped: run 'tailscale up'")
    time.sleep(10)  # so long is it gone
    ip(alpha, "address", "add", f"{alpha.ipv4}/10", "dev", DEVICE)
    alpha.tailscaled.mode = "ok"
    alpha.tailscaled.ring(State=6)
    own = soon(lambda: seen(bravo, alpha.ipv4, "+norec") == {"alpha-80.web", "alpha-81.cache"})
    merged = soon(lambda: seen(bravo, alpha.ipv4) == everything and seen(alpha, bravo.ipv4) == everything)
    for process in (web, tenant):
        process.wait_for("the network is back after 1")
        logged = [line for line in process.stderr.splitlines() if "the network is" in line]
        assert len(logged) == 2, process.stderr
    measured(f"network gone for 10 s: own services answered {own:.2f} s after, all of everybody {own + merged:.2f} s")


def test_a_tailscaled_that_restarts_loses_nothing(bed: Bed) -> None:
    """Its sockets and addresses go on working; what others ask meanwhile is answered."""
    alpha, bravo = bed.hosts
    web = advertise(alpha, "web", ":80")
    alpha.tailscaled.stop()
    web.wait_for("the network is lost: tailscaled is not running", timeout=10)
    assert seen(bravo, alpha.ipv4) == {"alpha-80.web"}
    alpha.tailscaled.start()
    web.wait_for("the network is back", timeout=10)
    # And its door-bell is heard again.
    soon(lambda: alpha.tailscaled.watchers == 1)
    bed.tailnet.add(Node("charlie", addresses=(bravo.ipv4 + "9",)))
    assert seen(bravo, alpha.ipv4) == {"alpha-80.web"}


# Somewhere else


def test_programs_follow_into_another_tailnet_and_nothing_of_the_old_one_is_told(make_bed: MakeBed) -> None:
    """There, bravo's address is charlie's: it has none of what bravo offered."""
    bed = make_bed(["alpha", "bravo", "charlie"])
    alpha, bravo, charlie = bed.hosts
    advertise(alpha, "web", ":80")
    advertise(bravo, "db", ":5432")
    finder = alpha.start([sys.executable, "-c", FINDER])
    for kind in ("blocking", "aio"):
        finder.wait_for(f"{kind} db@{bravo.ipv4}:5432 web@{alpha.ipv4}:80", timeout=20)
    before, new_address = bravo.ipv4, "100.64.50.1"
    assert seen(alpha, alpha.ipv4) == {"alpha-80.web", "bravo-5432.db"}

    elsewhere = Tailnet(suffix="tail77.ts.net")
    there = elsewhere.add(Node("alpha", addresses=(new_address,)))
    taken = elsewhere.add(Node("bravo", addresses=(before,)))  # the same name even
    ip(bravo, "address", "del", f"{before}/10", "dev", DEVICE)
    readdress(charlie, before)
    readdress(alpha, new_address)
    for host in (alpha, bravo, charlie):
        host.run(["ip", "neigh", "del", before, "dev", DEVICE])
    charlie.tailscaled.tailnet, charlie.tailscaled.me = elsewhere, taken
    advertise(charlie, "cache", ":81")
    alpha.tailscaled.tailnet, alpha.tailscaled.me = elsewhere, there
    alpha.tailscaled.ring(State=6)

    told: list[set[str]] = []

    def there_yet() -> bool:
        told.append(seen(charlie, new_address))
        return told[-1] == {"alpha-80.web", "bravo-81.cache"}

    soon(there_yet)
    assert not any("bravo-5432.db" in each for each in told), told
    for kind in ("blocking", "aio"):
        finder.wait_for(f"{kind} cache@{before}:81 web@{new_address}:80", timeout=20)
        lines = [line for line in finder.stdout.splitlines() if line.startswith(kind)]
        first = next(number for number, line in enumerate(lines) if f"@{new_address}:80" in line)
        assert not any("db@" in line for line in lines[first:]), lines


def test_a_host_that_changes_its_address_answers_there_and_not_at_the_old_one(bed: Bed, measured: Measured) -> None:
    """Whoever asks the old address gets nothing, whoever asks others gets the new one."""
    alpha, bravo = bed.hosts
    old = alpha.ipv4
    advertise(alpha, "web", ":80")
    advertise(alpha, "cache", ":81")
    advertise(bravo, "db", ":5432")
    soon(lambda: len(seen(bravo, bravo.ipv4)) == 3)
    readdress(alpha, "100.64.9.9")
    alpha.node.addresses = ("100.64.9.9",)
    ring(bed)

    def moved() -> bool:
        reply = dig(bravo, bravo.ipv4, "web.minidisc", "A", "+rec")
        other = dig(bravo, bravo.ipv4, "cache.minidisc", "A", "+rec")
        return [line.split()[-1] for line in (*reply.answer, *other.answer)] == ["100.64.9.9"] * 2

    took = soon(moved)
    measured(f"a changed address was told by others after {took:.2f} s")
    assert seen(bravo, "100.64.9.9", "+norec") == {"alpha-80.web", "alpha-81.cache"}
    done = bravo.run(["dig", f"@{old}", "-p", str(PORT), "_list.minidisc", "PTR", "+time=1", "+tries=1"])
    assert done.returncode == 9, done.stdout


def test_peers_that_come_and_go_are_followed_by_the_door_bell(make_bed: MakeBed, measured: Measured) -> None:
    bed = make_bed(["alpha", "bravo", "charlie"])
    alpha, bravo, charlie = bed.hosts
    advertise(alpha, "web", ":80")
    advertise(charlie, "db", ":5432")
    soon(lambda: seen(bravo, alpha.ipv4) == {"alpha-80.web", "charlie-5432.db"})
    bed.tailnet.remove(charlie.node)
    ring(bed)
    left = soon(lambda: seen(bravo, alpha.ipv4) == {"alpha-80.web"})
    bed.tailnet.add(charlie.node)
    ring(bed)
    came = soon(lambda: seen(bravo, alpha.ipv4) == {"alpha-80.web", "charlie-5432.db"})
    measured(f"a peer that left was no longer told of after {left:.2f} s, one that came was after {came:.2f} s")


def test_ipv6_alone(make_bed: MakeBed) -> None:
    bed = make_bed([Node("alpha", families=(6,)), Node("bravo", families=(6,))])
    alpha, bravo = bed.hosts
    advertise(alpha, "web", ":80")
    advertise(bravo, "db", ":5432")
    soon(lambda: seen(bravo, alpha.ipv6) == {"alpha-80.web", "bravo-5432.db"})
    assert bravo.run(["md", "find", "web"]).stdout == f"[{alpha.ipv6}]:80\n"
    old, new = alpha.ipv6, "fd7a:115c:a1e0::99"
    ip(alpha, "address", "add", f"{new}/64", "dev", DEVICE, "nodad")
    alpha.node.addresses = (new,)
    ring(bed)
    soon(lambda: bravo.run(["md", "find", "web"]).stdout == f"[{new}]:80\n")
    assert old not in bravo.run(["md", "list"]).stdout


def test_userspace_networking_may_be_turned_on_and_off(bed: Bed) -> None:
    """What comes from the network then arrives at 127.0.0.1; what is told is the address on the tailnet."""
    alpha = bed.host("alpha")
    web = advertise(alpha, "web", ":80")

    def at(address: str) -> list[str]:
        words = ["dig", "+short", f"@{address}", "-p", str(PORT), "web.minidisc", "A", "+time=1", "+tries=1", "+norec"]
        return alpha.run(words).stdout.split()

    for tun, there, elsewhere in ((False, "127.0.0.1", alpha.ipv4), (True, alpha.ipv4, "127.0.0.1")):
        bed.tailnet.tun = tun
        ring(bed)
        web.wait_for(f"answering at {there} from now on", timeout=10)
        soon(lambda: at(there) == [alpha.ipv4])  # noqa: B023 - called at once
        assert alpha.ipv4 not in at(elsewhere)


def test_with_userspace_networking_our_own_services_are_listed_and_the_limit_is_told(bed: Bed) -> None:
    alpha = bed.host("alpha")
    bed.tailnet.tun = False
    advertise(alpha, "web", ":80")
    done = alpha.run(["md", "list", "-o", "name"])
    assert (done.returncode, done.stdout.split()) == (0, [f"{alpha.ipv4}:80"])
    assert "userspace networking, so md cannot find services of other machines" in done.stderr


# Our own sleep


def test_who_was_stopped_declares_nobody_gone_and_asks_anew(bed: Bed) -> None:
    alpha, bravo = bed.hosts
    web = advertise(alpha, "web", ":80")
    db = advertise(bravo, "db", ":5432")
    soon(lambda: seen(bravo, alpha.ipv4) == {"alpha-80.web", "bravo-5432.db"})
    web.signal(signal.SIGSTOP)
    time.sleep(7)
    db.terminate()
    cache = advertise(bravo, "cache", ":81")
    web.signal(signal.SIGCONT)
    web.wait_for("away for ", timeout=10)
    soon(lambda: seen(bravo, alpha.ipv4) == {"alpha-80.web", "bravo-81.cache"})
    assert "silent" not in web.stderr
    assert cache.returncode is None
