"""A fleet that is being moved: Minidisc's own programs and ours, on three hosts, in every role and in any order.

Minidisc's Python is always run. Its Go program `md` is where MDDNS_TEST_MINIDISC_MD names it; elsewhere what it was
recorded to say and to ask stands in for it (test_minidisc_recorded), and the end of the run says so.
"""

from __future__ import annotations

import itertools
import json
import signal
import time

import pytest
from bed import minidisc
from bed.host import Host
from bed.hosts import Bed
from bed.minidisc import GoMd
from bed.process import Process, wait_until
from conftest import MakeBed, Measured

pytestmark = pytest.mark.namespaces

GO = minidisc.go_md()
KINDS = ["ours", "python", *(["go"] if GO else [])]
THEIRS = KINDS[1:]
PORTS = {"ours": 8001, "python": 8002, "go": 8003}


@pytest.fixture
def bed(make_bed: MakeBed) -> Bed:
    return make_bed(["alpha", "bravo", "charlie"])


def start(kind: str, host: Host, name: str = "", port: int = 0) -> Process:
    """A program of that kind that offers a service of that name; returns when it says that it does."""
    name, port = name or kind, port or PORTS[kind]
    if kind == "python":
        process = minidisc.registry(host, (name, port, {"by": kind}))
        process.wait_for("advertised", timeout=20)
    elif kind == "go":
        process = GoMd(GO or "").advertise(host, (name, port, {"by": kind}))
        process.wait_for("Advertising", timeout=20)
    else:
        process = host.start(["md", "-v", "advertise", name, f":{port}", f"by={kind}"])
        process.wait_for("advertised", timeout=20)
    return process


def listed(kind: str, host: Host) -> set[tuple[str, str]]:
    """What a lister of that kind finds from there: name and endpoint."""
    if kind == "python":
        return minidisc.list_services(host)
    if kind == "go":
        return GoMd(GO or "").list(host)
    done = host.run(["md", "list", "-o", "json"])
    return {(each["name"], each["addrPort"]) for each in json.loads(done.stdout)}


def asked(host: Host, other: Host) -> set[tuple[str, str]]:
    """What `other` says over DNS that it offers itself (RD=0)."""
    done = host.run(["md", "--network", f"static:{other.ipv4}", "list", "-o", "json"])
    return {(each["name"], each["addrPort"]) for each in json.loads(done.stdout or "[]")}


def all_find(host: Host, wanted: set[tuple[str, str]], within: float = 20.0) -> None:
    """Every lister comes to see exactly these, and keeps to it."""
    for kind in KINDS:
        last: list[set[tuple[str, str]]] = [set()]

        def sees(kind: str = kind, last: list[set[tuple[str, str]]] = last) -> bool:
            last[0] = listed(kind, host)
            return last[0] == wanted

        assert wait_until(sees, within), f"{kind} lists {sorted(last[0])}, not {sorted(wanted)}"


def test_each_kind_finds_each_kind_on_other_hosts(bed: Bed) -> None:
    """Each alone on its host: Minidisc's listers see ours, and ours sees theirs although they have no DNS."""
    alpha, bravo, charlie = map(bed.host, ("alpha", "bravo", "charlie"))
    hosts = [alpha, bravo, *([charlie] if GO else [])]
    for kind, host in zip(KINDS, hosts, strict=True):
        start(kind, host)
    wanted = {(kind, f"{host.ipv4}:{PORTS[kind]}") for kind, host in zip(KINDS, hosts, strict=True)}
    for host in (alpha, bravo, charlie):
        all_find(host, wanted)


def test_each_kind_finds_by_name_and_labels(bed: Bed) -> None:
    alpha, bravo, charlie = map(bed.host, ("alpha", "bravo", "charlie"))
    start("ours", alpha, "web", 80)
    start("python", bravo, "web", 81)
    ours, theirs = f"{alpha.ipv4}:80", f"{bravo.ipv4}:81"
    assert charlie.run(["md", "find", "web", "by=python"]).stdout.strip() == theirs
    assert charlie.run(["md", "find", "web", "by=ours"]).stdout.strip() == ours
    assert minidisc.find_service(charlie, "web", by="ours") == ours
    assert minidisc.find_service(charlie, "web", by="python") == theirs
    assert minidisc.find_service(charlie, "web", by="nobody") == "None"
    if GO:
        assert GoMd(GO).run(charlie, "find", "web", "by=ours").stdout.strip() == ours
    # Nobody needs a registry of ours on the asking host, and who has one gets theirs by dig too.
    start("ours", charlie, "db", 82)
    done = charlie.run(["dig", "+short", "SRV", "web.minidisc", f"@{charlie.ipv4}", "-p", "28004"])
    assert sorted(line.split()[2] for line in done.stdout.splitlines()) == ["80", "81"]


@pytest.mark.parametrize("order", list(itertools.permutations(KINDS)), ids="-".join)
def test_on_one_host_they_start_in_any_order(bed: Bed, order: tuple[str, ...]) -> None:
    """Whoever comes first leads, and everybody lists everybody: from that host, and from another."""
    alpha, bravo = bed.host("alpha"), bed.host("bravo")
    for kind in order:
        start(kind, alpha)
    wanted = {(kind, f"{alpha.ipv4}:{PORTS[kind]}") for kind in KINDS}
    all_find(bravo, wanted)
    all_find(alpha, wanted)
    assert asked(bravo, alpha) == wanted


@pytest.mark.parametrize("order", list(itertools.permutations(KINDS)), ids="-".join)
def test_each_leader_is_killed_in_turn(bed: Bed, order: tuple[str, ...], measured: Measured) -> None:
    """Who is left is found by everybody; who comes back is too, in whatever role it finds itself."""
    alpha, bravo = bed.host("alpha"), bed.host("bravo")
    running = {kind: start(kind, alpha) for kind in order}

    def wanted() -> set[tuple[str, str]]:
        return {(kind, f"{alpha.ipv4}:{PORTS[kind]}") for kind in running}

    all_find(bravo, wanted())
    slowest = 0.0
    for kind in order:
        running.pop(kind).kill()
        begun = time.monotonic()
        if "ours" in running or len(running) < 2:
            all_find(bravo, wanted(), within=30)
            slowest = max(slowest, time.monotonic() - begun)
        else:
            # Minidisc alone loses all delegates but one with their leader (its defect 1): they are restarted.
            for each in list(running):
                running.pop(each).kill()
                running[each] = start(each, alpha)
        running[kind] = start(kind, alpha)
        all_find(bravo, wanted(), within=30)
    measured(f"leaders killed in turn ({'-'.join(order)}): all listers agreed {slowest:.1f} s later at most")


@pytest.mark.parametrize("kind", THEIRS)
def test_delegates_live_on_when_our_holder_is_killed_and_a_tenant_follows(bed: Bed, kind: str) -> None:
    """The successor has the same port and knows the delegates, whom it asks at once: nobody is orphaned."""
    alpha, bravo = bed.host("alpha"), bed.host("bravo")
    holder = start("ours", alpha, "first", 9001)
    start("ours", alpha, "second", 9002)
    start(kind, alpha, "theirs-1", 9003)
    start(kind, alpha, "theirs-2", 9004)
    rest = {("second", f"{alpha.ipv4}:9002"), ("theirs-1", f"{alpha.ipv4}:9003"), ("theirs-2", f"{alpha.ipv4}:9004")}
    all_find(bravo, rest | {("first", f"{alpha.ipv4}:9001")})
    holder.kill()
    for _ in range(10):
        assert ("second", f"{alpha.ipv4}:9002") in asked(bravo, alpha)
    assert wait_until(lambda: rest <= asked(bravo, alpha), timeout=3)
    all_find(bravo, rest)


@pytest.mark.parametrize("kind", THEIRS)
def test_nobodys_delegates_are_orphaned_when_we_take_the_port_from_another_leader(bed: Bed, kind: str) -> None:
    """Minidisc's delegates ping whoever has the port, and never notice that it is another (its defect 1)."""
    alpha, bravo = bed.host("alpha"), bed.host("bravo")
    leader = start(kind, alpha, "theirs", 9001)
    assert wait_until(lambda: f"{alpha.ipv4}:28004" in alpha.run(["ss", "-Hltn"]).stdout)
    delegates = [start(kind, alpha, f"theirs-{n}", 9002 + n) for n in range(3)]
    start("ours", alpha, "ours", 9010)
    rest = {(f"theirs-{n}", f"{alpha.ipv4}:{9002 + n}") for n in range(3)} | {("ours", f"{alpha.ipv4}:9010")}
    all_find(bravo, rest | {("theirs", f"{alpha.ipv4}:9001")})
    # Stopped, they cannot be first at the port.
    for each in delegates:
        each.signal(signal.SIGSTOP)
    leader.kill()
    assert wait_until(lambda: f"{alpha.ipv4}:28004" in alpha.run(["ss", "-Hltn"]).stdout, timeout=15)
    for each in delegates:
        each.signal(signal.SIGCONT)
    all_find(bravo, rest, within=60)


@pytest.mark.parametrize("kind", THEIRS)
def test_nobody_is_orphaned_when_we_are_restarted_between_two_pings(bed: Bed, kind: str) -> None:
    alpha, bravo = bed.host("alpha"), bed.host("bravo")
    first = start("ours", alpha, "ours", 9001)
    start(kind, alpha, "theirs", 9002)
    wanted = {("ours", f"{alpha.ipv4}:9001"), ("theirs", f"{alpha.ipv4}:9002")}
    all_find(bravo, wanted)
    first.terminate()
    start("ours", alpha, "ours", 9001)
    all_find(bravo, wanted, within=60)


def test_a_withdrawn_service_is_not_heard_again_from_the_leader_that_had_it_from_us(bed: Bed) -> None:
    """What goes to a leader and comes back is ours, and gone when we say so: nothing goes round in circles."""
    alpha, bravo = bed.host("alpha"), bed.host("bravo")
    start("python", alpha, "theirs", 9001)
    start("ours", alpha, "stays", 9002)
    goes = start("ours", alpha, "goes", 9003)
    all_find(bravo, {(name, f"{alpha.ipv4}:{9001 + n}") for n, name in enumerate(("theirs", "stays", "goes"))})
    goes.terminate()
    rest = {("theirs", f"{alpha.ipv4}:9001"), ("stays", f"{alpha.ipv4}:9002")}
    assert wait_until(lambda: asked(bravo, alpha) == rest, 2)
    all_find(bravo, rest)
    deadline = time.monotonic() + 6  # longer than a leader's list is kept
    while time.monotonic() < deadline:
        assert asked(bravo, alpha) == rest


def test_many_services_of_a_host_whose_tcp_port_is_minidiscs(bed: Bed) -> None:
    """More than a datagram holds, and nobody to ask for the rest over DNS: its list has it."""
    alpha, bravo = bed.host("alpha"), bed.host("bravo")
    start("python", alpha, "theirs", 9001)
    file = alpha.directory / "many.yaml"
    file.write_text(json.dumps({"services": [{"name": f"s{n}", "address": f":{n}"} for n in range(1, 101)]}))
    alpha.start(["md", "advertise", str(file)]).wait_for("advertised", timeout=20)
    wanted = {(f"s{n}", f"{alpha.ipv4}:{n}") for n in range(1, 101)} | {("theirs", f"{alpha.ipv4}:9001")}
    assert wait_until(lambda: listed("ours", bravo) == wanted, 20)
    start("ours", bravo, "bravos", 9002)
    assert wait_until(lambda: listed("ours", bravo) == wanted | {("bravos", f"{bravo.ipv4}:9002")}, 20)


def test_what_minidisc_stops_offering_is_gone_within_seconds(bed: Bed, measured: Measured) -> None:
    alpha, bravo = bed.host("alpha"), bed.host("bravo")
    ours = ("ours", f"{alpha.ipv4}:8001")
    start("ours", alpha)
    theirs = start("python", alpha)
    all_find(bravo, {ours, ("python", f"{alpha.ipv4}:8002")})
    theirs.kill()
    begun = time.monotonic()
    assert wait_until(lambda: asked(bravo, alpha) == {ours}, 10)
    measured(f"a killed delegate's services were gone from DNS after {time.monotonic() - begun:.1f} s")
