"""Avahi's wide-area DNS-SD: what `avahi-browse` shows of the domain `minidisc`."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from bed.dig import need
from bed.hosts import Bed, Host
from bed.process import wait_until
from bed.resolvconf import resolv_conf
from conftest import MakeBed, Measured
from real_clients import HOSTS, RESOLV_CONF, configuration, forward, placed, seconds_until, serve_page, version_of

pytestmark = pytest.mark.namespaces

# A message bus of its own, whose address programs get by this.
BUS = "DBUS_SYSTEM_BUS_ADDRESS"
BUS_CONFIGURATION = """\
<busconfig>
  <type>system</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/>
  </policy>
</busconfig>
"""


@pytest.fixture
def bed(make_bed: MakeBed) -> Iterator[Bed]:
    """bravo serves a page, desk forwards, and has an avahi-daemon."""
    for program in ("avahi-daemon", "avahi-browse", "dbus-daemon"):
        need(program)
    bed = make_bed(HOSTS)
    desk = bed.host("desk")
    with resolv_conf(desk, RESOLV_CONF):
        serve_page(bed.host("bravo"), 8080, "web", "env=test")
        forward(desk)
        placed(desk, "bus.conf", BUS_CONFIGURATION.format(socket=desk.directory / "bus"))
        desk.start(["dbus-daemon", "--nofork", "--config-file=bus.conf"])
        assert wait_until((desk.directory / "bus").exists, 10)
        file = placed(desk, "avahi-daemon.conf", configuration("avahi-daemon.conf"))
        # Its place for a pid is the machine's.
        fresh = "mkdir -p /run/avahi-daemon && mount -t tmpfs run /run/avahi-daemon"
        argv = f"avahi-daemon --no-drop-root --no-chroot --no-rlimits -f {file}"
        desk.start(["sh", "-c", f"{fresh} && exec {argv}"], bus(desk)).wait_for("Server startup complete", timeout=20)
        yield bed


def bus(host: Host) -> dict[str, str]:
    return {BUS: f"unix:path={host.directory / 'bus'}"}


def browse(host: Host, *argv: str) -> list[list[str]]:
    """What avahi-browse prints of the domain, a list of fields a line; until it has all."""
    done = host.run(["avahi-browse", "-p", "-t", "-d", "minidisc", *argv], env=bus(host), timeout=20)
    return [line.split(";") for line in done.stdout.splitlines()]


def pages(host: Host) -> dict[str, tuple[str, str, str]]:
    """Of each resolved `_web._tcp`, by its name: address, port and TXT."""
    return {each[3]: (each[7], each[8], each[9]) for each in browse(host, "-r", "_web._tcp") if each[0] == "="}


def test_services_are_shown_with_address_port_and_labels_and_follow_who_leaves_and_joins(
    bed: Bed, measured: Measured
) -> None:
    desk, alpha, bravo = bed.host("desk"), bed.host("alpha"), bed.host("bravo")
    which = f"Avahi {version_of(desk, 'avahi-daemon', '--version')}"
    seconds_until(lambda: set(pages(desk)) == {"bravo-8080"}, 20)
    with serve_page(alpha, 8081, "web", "env=prod") as page:
        took = seconds_until(lambda: set(pages(desk)) == {"alpha-8081", "bravo-8080"}, 30)
        measured(f"{which}: one that joins is shown after {took:.1f} s")
        shown = pages(desk)
        assert shown["alpha-8081"][:2] == (alpha.ipv4, "8081")
        assert '"env=prod"' in shown["alpha-8081"][2]
        assert shown["bravo-8080"][:2] == (bravo.ipv4, "8080")
        assert '"env=test"' in shown["bravo-8080"][2]
        page.signal(signal.SIGTERM)
        took = seconds_until(lambda: set(pages(desk)) == {"bravo-8080"}, 30)
        measured(f"{which}: one that leaves is no longer shown after {took:.1f} s")


def test_all_types_are_shown_and_the_domain_offers_itself(bed: Bed) -> None:
    desk = bed.host("desk")
    with serve_page(bed.host("alpha"), 8081, "wiki"):
        shown = {("alpha-8081", "_wiki._tcp"), ("bravo-8080", "_web._tcp")}
        seconds_until(lambda: {(each[3], each[4]) for each in browse(desk, "-a")} == shown, 30)
    assert [each[-1] for each in browse(desk, "-D")] == ["minidisc"]
