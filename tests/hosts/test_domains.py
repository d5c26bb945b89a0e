"""Several domains on one host and port: whoever answers for the host answers for all of them."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable

import pytest
from bed.dig import dig
from bed.embedded import ports, started
from bed.hosts import Bed
from bed.process import Process, wait_until
from conftest import MakeBed

BOTH = """
import sys, signal, mddns
one = mddns.start_registry()
other = mddns.start_registry(domain=sys.argv[1])
one.advertise_service(7001, "web", {})
other.advertise_service(7002, "web", {})
print(one.is_holder, other.is_holder, flush=True)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
while True:
    signal.sigwait({signal.SIGTERM})
    one.close()
    print("one is closed", flush=True)
"""


@pytest.fixture
def bed(make_bed: MakeBed) -> Bed:
    return make_bed(["alpha", "bravo"])


def start(bed: Bed, port: int, *options: str, host: str = "alpha") -> Process:
    return started(bed.host(host), port, *options)


def status(bed: Bed, domain: str) -> str:
    return dig(bed.host("bravo"), bed.host("alpha").ipv4, domain, "SOA").rcode


def transferred(bed: Bed, domain: str) -> set[str]:
    reply = dig(bed.host("bravo"), bed.host("alpha").ipv4, domain, "AXFR")
    lines = [line.split() for line in reply.text.splitlines() if line and not line.startswith(";")]
    return {line[0] for line in lines if line[3] == "SRV"}


@pytest.mark.parametrize("rd", ["+norec", "+rec"])
@pytest.mark.parametrize("way", ["+notcp", "+tcp"])
def test_one_host_answers_for_two_domains(bed: Bed, rd: str, way: str) -> None:
    start(bed, 9001)
    start(bed, 9002, "domain=minidisc.internal")
    assert ports(bed, rd, way, domain="minidisc") == {9001}
    assert ports(bed, rd, way, domain="minidisc.internal") == {9002}


def test_what_the_whole_network_has_under_each_domain(bed: Bed) -> None:
    """RD=1: the holder asks around under a domain that only a tenant of it has."""
    start(bed, 9001)
    start(bed, 9002, "domain=minidisc.internal")
    start(bed, 9003, "domain=minidisc.internal", host="bravo")
    assert wait_until(lambda: ports(bed, "+rec", domain="minidisc.internal") == {9002, 9003}, 5)
    assert wait_until(lambda: ports(bed, "+rec", domain="minidisc.internal", host="bravo") == {9002, 9003}, 5)
    assert ports(bed, "+rec", domain="minidisc") == {9001}


def test_each_domain_is_transferred_by_itself(bed: Bed) -> None:
    start(bed, 9001)
    start(bed, 9002, "domain=minidisc.internal")
    assert transferred(bed, "minidisc") >= {"web.minidisc.", "alpha-9001.web.minidisc."}
    assert transferred(bed, "minidisc.internal") >= {"web.minidisc.internal.", "alpha-9002.web.minidisc.internal."}
    assert not any("9002" in name for name in transferred(bed, "minidisc"))


def end(process: Process) -> None:
    process.terminate()


def kill(process: Process) -> None:
    process.kill()


@pytest.mark.parametrize("ended", [kill, end])
def test_the_successor_answers_for_both(bed: Bed, ended: Callable[[Process], None]) -> None:
    """Whichever of them it is, and also for the one domain that it has nothing to do with."""
    holder = start(bed, 9001)
    others = [start(bed, 9002, "domain=minidisc.internal"), start(bed, 9003), start(bed, 9004, "domain=x.test")]
    ended(holder)
    assert wait_until(lambda: sum("holder" in each.stdout for each in others) == 1)
    for domain, port in (("minidisc.internal", 9002), ("minidisc", 9003), ("x.test", 9004)):
        for rd in ("+norec", "+rec"):
            assert ports(bed, rd, domain=domain) == {port}
        assert transferred(bed, domain) >= {f"alpha-{port}.web.{domain}."}


def test_without_a_tenant_its_domain_is_refused_again(bed: Bed) -> None:
    start(bed, 9001)
    assert status(bed, "minidisc.internal") == "REFUSED"
    tenant = start(bed, 9002, "domain=minidisc.internal")
    assert status(bed, "minidisc.internal") == "NOERROR"
    tenant.terminate()
    assert wait_until(lambda: status(bed, "minidisc.internal") == "REFUSED")
    assert status(bed, "minidisc") == "NOERROR"


def test_a_dead_holders_domain_is_refused_when_nobody_else_has_it(bed: Bed) -> None:
    holder = start(bed, 9001)
    start(bed, 9002, "domain=minidisc.internal")
    holder.kill()
    assert wait_until(lambda: status(bed, "minidisc") == "REFUSED")
    assert ports(bed, domain="minidisc.internal") == {9002}


def test_a_domain_below_another_is_a_zone_of_its_own(bed: Bed) -> None:
    start(bed, 9001)
    start(bed, 9002, "domain=lab.minidisc")
    assert ports(bed, domain="minidisc") == {9001}
    assert ports(bed, domain="lab.minidisc") == {9002}


def test_md_finds_each_under_its_domain(bed: Bed) -> None:
    alpha = bed.host("alpha")
    start(bed, 9001)
    start(bed, 9002, "domain=minidisc.internal")
    for host in (alpha, bed.host("bravo")):
        assert host.run(["md", "find", "web"]).stdout.strip() == f"{alpha.ipv4}:9001"
        assert host.run(["md", "--domain", "minidisc.internal", "find", "web"]).stdout.strip() == f"{alpha.ipv4}:9002"


@pytest.mark.parametrize("domain", ["minidisc", "minidisc.internal"])
def test_two_registries_of_one_process(bed: Bed, domain: str) -> None:
    """One of them holds, whichever their domains; when that one is closed the other goes on."""
    process = bed.host("alpha").start([sys.executable, "-c", BOTH, domain])
    assert process.wait_for("True", timeout=20) == "True False"
    if domain == "minidisc":
        assert ports(bed, domain="minidisc") == {7001, 7002}
    else:
        assert (ports(bed, domain="minidisc"), ports(bed, domain=domain)) == ({7001}, {7002})
    process.signal(signal.SIGTERM)
    process.wait_for("one is closed")
    assert wait_until(lambda: ports(bed, domain=domain) == {7002})
