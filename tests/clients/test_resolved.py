"""systemd-resolved with `md forward` behind it, set up by `md setup resolved --apply`, which `md doctor` said to do.

The tests are a person's way from the first look on: each goes on where the one before ended.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from subprocess import CompletedProcess
from typing import Any, NamedTuple

import pytest
from bed.hosts import Bed
from bed.process import Process, wait_until
from bed.resolved import Resolved
from conftest import MakeBed, Measured
from fronts import BOTH, MANY, OTHER_ADDRESS, OTHER_NAME, surroundings
from real_clients import HOSTS, configuration, seconds_until, serve_page

from mddns.setup.resolved import DROP_IN

pytestmark = pytest.mark.namespaces


class Laptop(NamedTuple):
    """desk, with systemd-resolved and what runs beside it."""

    bed: Bed
    resolved: Resolved
    forwarder: Process | None = None

    def run(self, *argv: str) -> CompletedProcess[str]:
        """A program there, run to its end."""
        self.bed.host("desk")  # which counts the test
        return self.resolved.run(argv)

    def out(self, *argv: str) -> str:
        """What a program prints there, on both ways."""
        done = self.run(*argv)
        return done.stdout + done.stderr

    def finds(self, name: str) -> bool:
        return self.run("getent", "ahostsv4", name).returncode == 0

    def srv(self, name: str) -> set[str]:
        """What the resolver that resolv.conf names says to dig."""
        return set(self.out("dig", "+short", "+tries=1", "+time=3", name, "SRV").splitlines())

    def doctor(self) -> dict[str, dict[str, Any]]:
        """What is not ok, by check."""
        found = json.loads(self.run("md", "doctor", "-o", "json").stdout)
        return {each["check"]: each for each in found if each["state"] != "ok"}


@pytest.fixture(scope="module")
def laptop(make_module_bed: MakeBed) -> Iterator[Laptop]:
    """On desk systemd-resolved, and then what `md doctor` says there."""
    bed = make_module_bed(HOSTS)
    bravo = bed.host("bravo")
    surroundings(bed)
    with Resolved(bed.host("desk"), bravo.ipv4) as resolved:
        laptop = Laptop(bed, resolved)
        assert not laptop.finds("web.minidisc")
        assert laptop.finds(OTHER_NAME)
        found = laptop.doctor()
        assert set(found) == {"resolution"}
        forward, apply = found["resolution"]["fix"].splitlines()
        assert apply == "sudo md setup resolved --apply"
        forwarder = resolved.start(forward.split())
        forwarder.wait_for("Ctrl-C ends it", timeout=15)
        laptop.resolved.shell(apply)
        yield laptop._replace(forwarder=forwarder)


def test_what_md_doctor_says_mends_it(laptop: Laptop) -> None:
    assert laptop.out("cat", DROP_IN) == configuration("resolved.conf")
    assert wait_until(lambda: laptop.finds("web.minidisc"), 10), laptop.out("resolvectl", "status")
    assert wait_until(lambda: laptop.doctor() == {}, 15), laptop.doctor()


def test_curl_libc_and_dig_find_our_pages_by_it_and_other_names_as_before(laptop: Laptop) -> None:
    assert laptop.out("curl", "-sS", "--max-time", "3", "http://web.minidisc:8080/") in {"alpha:8080\n", "bravo:8080\n"}
    found = laptop.out("getent", "ahostsv4", "web.minidisc").split()
    assert {laptop.bed.host(name).ipv4 for name in ("alpha", "bravo")} <= set(found)
    assert OTHER_ADDRESS in laptop.out("getent", "ahostsv4", OTHER_NAME).split()
    assert {line.lower() for line in laptop.srv("_wEb._TCP.Minidisc")} == BOTH
    assert len(laptop.srv("many.minidisc")) == MANY


def test_resolvectl_service_tells_hosts_ports_addresses_and_labels(laptop: Laptop, measured: Measured) -> None:
    alpha = laptop.bed.host("alpha")
    with serve_page(alpha, 8090, "shop", "env=prod", "zone=eu"):
        took = seconds_until(lambda: bool(laptop.srv("_shop._tcp.minidisc")), 15)
        measured(f"systemd-resolved: a new name {took:.1f} s")
        for told in (
            laptop.out("resolvectl", "service", "_shop._tcp", "minidisc"),
            laptop.out("resolvectl", "service", "alpha-8090", "_shop._tcp", "minidisc"),
        ):
            assert "alpha-8090.shop.minidisc:8090 [priority=10, weight=10]" in told
            assert alpha.ipv4 in told
        assert "env=prod" in told


def test_it_follows_an_instance_that_joins_and_one_that_leaves(laptop: Laptop, measured: Measured) -> None:
    assert laptop.srv("web.minidisc") == BOTH
    with serve_page(laptop.bed.host("desk"), 8081):
        three = BOTH | {"10 10 8081 desk-8081.web.minidisc."}
        joins = seconds_until(lambda: laptop.srv("web.minidisc") == three, 15)
    leaves = seconds_until(lambda: laptop.srv("web.minidisc") == BOTH, 15)
    measured(f"systemd-resolved: an instance joins {joins:.1f} s, leaves {leaves:.1f} s")


@pytest.mark.parametrize("mode", ["allow-downgrade", "yes"])
def test_where_it_validates_md_doctor_says_what_spares_us(laptop: Laptop, mode: str) -> None:
    laptop.resolved.shell(
        f"printf '[Resolve]\\nDNSSEC={mode}\\n' >/etc/systemd/resolved.conf.d/dnssec.conf\n"
        "systemctl restart systemd-resolved"
    )
    try:
        assert not laptop.finds("web.minidisc")
        found = laptop.doctor()
        assert found["dnssec"]["state"] == "warn"
        laptop.resolved.shell(found["dnssec"]["fix"])
        assert laptop.finds("web.minidisc")
        assert "dnssec" not in laptop.doctor()
    finally:
        laptop.resolved.shell(
            "rm -r /etc/dnssec-trust-anchors.d /etc/systemd/resolved.conf.d/dnssec.conf\n"
            "systemctl restart systemd-resolved"
        )


def test_undone_it_knows_our_names_no_more_and_all_others_as_before(laptop: Laptop) -> None:
    assert laptop.finds("web.minidisc")
    laptop.resolved.shell("sudo md setup resolved --undo")
    assert not laptop.finds("web.minidisc")
    assert laptop.finds(OTHER_NAME)
    laptop.resolved.shell("sudo md setup resolved --apply")
    assert laptop.finds("web.minidisc")


def test_where_md_forward_has_ended_md_doctor_says_how_it_runs(laptop: Laptop) -> None:
    """It comes last: the forwarder of all the others ends."""
    assert laptop.forwarder is not None
    laptop.forwarder.terminate()
    found = laptop.doctor()
    assert set(found) == {"resolution"}
    assert "systemd-resolved forwards minidisc" in found["resolution"]["message"]
    with laptop.resolved.start(found["resolution"]["fix"].split()) as forwarder:
        forwarder.wait_for("Ctrl-C ends it", timeout=15)
        assert wait_until(lambda: laptop.finds("web.minidisc"), 10)
        assert wait_until(lambda: laptop.doctor() == {}, 15), laptop.doctor()
