"""HAProxy's `server-template`, with forty instances of one name: pages fetched through it, by UDP and by TCP to us."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
import yaml
from bed.dig import need
from bed.hosts import Bed
from bed.resolvconf import resolv_conf
from conftest import MakeBed, Measured
from real_clients import HERE, HOSTS, RESOLV_CONF, Traffic, configuration, forward, placed, serve_page, version_of

pytestmark = pytest.mark.namespaces

PORTS = range(8100, 8120)  # on each of two hosts
PAGES = frozenset(f"{host}:{port}" for host in ("alpha", "bravo") for port in PORTS)


@pytest.fixture(scope="module")
def bed(make_module_bed: MakeBed) -> Iterator[Bed]:
    """alpha and bravo serve twenty pages each, desk forwards."""
    need("haproxy")
    bed = make_module_bed(HOSTS)
    with resolv_conf(bed.host("desk"), RESOLV_CONF):
        services = [{"name": "web", "address": f":{port}"} for port in PORTS]
        for host in (bed.host("alpha"), bed.host("bravo")):
            pages = [word for port in PORTS for word in (str(port), f"{host.name}:{port}")]
            host.start(["python", "-m", "bed.page", host.ipv4, *pages], {"PYTHONPATH": str(HERE)}).wait_for("serving")
            file = placed(host, "services.yaml", yaml.safe_dump({"services": services}))
            host.start(["md", "advertise", file]).wait_for("advertised", timeout=15)
        forward(bed.host("desk"))
        yield bed


@pytest.mark.parametrize(
    ("text", "url", "joins"),
    [
        pytest.param(configuration("haproxy.cfg"), "http://127.0.0.1:8000/", 8201, id="udp"),
        pytest.param(configuration("haproxy-tcp.cfg"), "http://127.0.0.1:8001/", 8202, id="tcp"),
    ],
)
def test_traffic_goes_to_forty_instances_to_one_that_joins_and_never_to_one_that_left(
    bed: Bed, measured: Measured, text: str, url: str, joins: int
) -> None:
    desk = bed.host("desk")
    file = placed(desk, f"{joins}.cfg", text)
    which = f"HAProxy {version_of(desk, 'haproxy', '-v')} {'TCP' if 'tcp@' in text else 'UDP'}"
    with desk.start(["haproxy", "-db", "-f", file]):
        traffic = Traffic(desk, url, requests=82)
        measured(f"{which}: forty instances serve {traffic.until(*PAGES):.1f} s after its start")
        traffic.seen.clear()
        with serve_page(bed.host("bravo"), joins) as page:
            measured(f"{which}: one that joins has traffic after {traffic.until(*PAGES, f'bravo:{joins}'):.1f} s")
            page.signal(signal.SIGTERM)
            measured(f"{which}: one that leaves has none after {traffic.until(*PAGES):.1f} s")
        assert traffic.seen == PAGES | {f"bravo:{joins}"}, "a request failed meanwhile"
