"""The network as a zone, on hosts of their own: a name server of the network follows a forwarder of another host."""

from __future__ import annotations

import re

import pytest
from bed.dig import need
from bed.hosts import Bed, Host
from bed.process import Process, wait_until
from conftest import MakeBed
from forwarding import ask, forward

pytestmark = pytest.mark.namespaces


@pytest.fixture
def bed(make_bed: MakeBed) -> Bed:
    """alpha offers web; bravo forwards; a name server runs on charlie."""
    bed = make_bed(["alpha", "bravo", "charlie"])
    bed.host("alpha").start(["md", "advertise", "web", ":8080", "env=prod"]).wait_for("advertised")
    return bed


def nsd(host: Host, primary: Host) -> Process:
    """An NSD that holds the zone."""
    need("nsd")
    conf = host.directory / "nsd.conf"
    conf.write_text(
        f'server:\n ip-address: {host.ipv4}\n username: ""\n zonesdir: "{host.directory}"\n database: ""\n'
        f' xfrdir: "{host.directory}"\n xfrdfile: "{host.directory}/xfrd"\n zonelistfile: "{host.directory}/zones"\n'
        f' pidfile: ""\n server-count: 1\n verbosity: 2\n xfrd-reload-timeout: 0\n'
        "remote-control:\n control-enable: no\n"
        f"zone:\n name: minidisc\n request-xfr: {primary.ipv4} NOKEY\n allow-notify: {primary.ipv4} NOKEY\n"
    )
    return host.start(["nsd", "-d", "-c", str(conf)])


def transfer(host: Host, at: str, kind: str = "AXFR") -> str:
    need("dig")
    return host.run(["dig", f"@{at}", "+tries=1", "+time=5", "minidisc", kind], timeout=15).stdout


def test_a_name_server_of_the_network_follows_and_hears_of_changes_from_the_forwarders_address(bed: Bed) -> None:
    """NSD asks nobody and believes nobody but the address that it was told."""
    alpha, bravo, charlie = (bed.host(name) for name in ("alpha", "bravo", "charlie"))
    forwarder = forward(bravo, "--listen", f"{bravo.ipv4}:53", "--notify", charlie.ipv4, "--upstream", "192.0.2.1")
    server = nsd(charlie, bravo)

    def found() -> set[str]:
        return set(ask(charlie, "web.minidisc", "SRV", at=charlie.ipv4).answer)

    assert wait_until(lambda: len(found()) == 1, 20), server.stdout + server.stderr
    with charlie.start(["md", "advertise", "web", ":9090"]) as other:
        other.wait_for("advertised")
        assert wait_until(lambda: len(found()) == 2, 20), server.stdout + server.stderr
    assert wait_until(lambda: len(found()) == 1, 20), server.stdout + server.stderr
    assert ask(charlie, "ns.minidisc", at=charlie.ipv4).answer == {f"ns.minidisc. A {bravo.ipv4}"}
    assert alpha.ipv4 in str(ask(charlie, "web.minidisc", at=charlie.ipv4).answer)
    assert "NOTIFY" not in forwarder.stderr
    assert re.search(r"notify for minidisc\.? from", server.stdout + server.stderr)


def test_the_network_may_have_the_zone_and_strangers_may_not(bed: Bed) -> None:
    alpha, bravo = bed.host("alpha"), bed.host("bravo")
    forward(bravo, "--listen", f"{bravo.ipv4}:53", "--listen", "127.0.0.1:53", "--upstream", "192.0.2.1")
    for host, at in ((alpha, bravo.ipv4), (bravo, bravo.ipv4), (bravo, "127.0.0.1")):
        assert "alpha-8080.web.minidisc." in transfer(host, at)
    bed.tailnet.remove(alpha.node)
    assert wait_until(lambda: "web" not in transfer(alpha, bravo.ipv4), 60)
    assert "Transfer failed" in transfer(alpha, bravo.ipv4)
    assert "Transfer failed" in transfer(alpha, bravo.ipv4, "IXFR=1")


def test_a_secondary_is_not_told_an_empty_zone_when_the_forwarder_starts_without_a_network(bed: Bed) -> None:
    bravo, charlie = bed.host("bravo"), bed.host("charlie")
    with forward(bravo, "--listen", f"{bravo.ipv4}:53", "--notify", charlie.ipv4, "--upstream", "192.0.2.1"):
        nsd(charlie, bravo)
        assert wait_until(lambda: len(ask(charlie, "web.minidisc", "SRV", at=charlie.ipv4).answer) == 1, 20)
    env = {"TS_SOCKET": "/nowhere/tailscaled.sock"}
    listen = ["--listen", f"{bravo.ipv4}:53", "--listen", "127.0.0.1:53"]
    process = bravo.start(["md", "forward", *listen, "--upstream", "192.0.2.1"], env=env)
    process.wait_for("Ctrl-C ends it")
    assert "Transfer failed" in transfer(bravo, "127.0.0.1")
    assert len(ask(charlie, "web.minidisc", "SRV", at=charlie.ipv4).answer) == 1
