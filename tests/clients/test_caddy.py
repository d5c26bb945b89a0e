"""Caddy's `dynamic srv`: pages fetched through it."""

from __future__ import annotations

import signal

import pytest
from bed.dig import need
from bed.resolvconf import resolv_conf
from conftest import MakeBed, Measured
from real_clients import HOSTS, RESOLV_CONF, Traffic, configuration, forward, placed, serve_page, version_of

pytestmark = pytest.mark.namespaces

STAY = ("bravo:8081", "bravo:8082")


def test_traffic_follows_one_that_joins_at_a_port_of_its_own_and_one_that_leaves(
    make_bed: MakeBed, measured: Measured
) -> None:
    need("caddy")
    bed = make_bed(HOSTS)
    desk = bed.host("desk")
    placed(desk, "Caddyfile", configuration("Caddyfile"))
    with resolv_conf(desk, RESOLV_CONF):
        leaves = serve_page(bed.host("alpha"), 8080)
        serve_page(bed.host("bravo"), 8081)
        forward(desk)
        desk.start(["caddy", "run", "--config", "Caddyfile"]).wait_for("serving initial configuration", timeout=20)
        which = f"Caddy {version_of(desk, 'caddy', 'version')}"
        traffic = Traffic(desk, "http://127.0.0.1:8000/")
        traffic.until("alpha:8080", "bravo:8081")
        traffic.seen.clear()
        serve_page(bed.host("bravo"), 8082)
        measured(f"{which}: one that joins has traffic after {traffic.until('alpha:8080', *STAY):.1f} s")
        leaves.signal(signal.SIGTERM)
        measured(f"{which}: one that leaves has none after {traffic.until(*STAY):.1f} s")
        assert traffic.seen == {"alpha:8080", *STAY}, "a request failed meanwhile"
