"""Prometheus finds what it scrapes by DNS, and with labels by HTTP: what its own API says, and what it scraped."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from bed.dig import need
from bed.hosts import Bed, Host
from bed.process import Process
from bed.resolvconf import resolv_conf
from conftest import MakeBed, Measured
from real_clients import (
    HOSTS,
    RESOLV_CONF,
    configuration,
    fetch,
    forward,
    placed,
    seconds_until,
    serve_page,
    version_of,
)

pytestmark = pytest.mark.namespaces

JOBS = ("web-dns", "web-http")
Office = tuple[Bed, Process]


@pytest.fixture(scope="module")
def office(make_module_bed: MakeBed) -> Iterator[Office]:
    """Pages on alpha, which leaves, and bravo; desk forwards and runs Prometheus."""
    need("prometheus")
    bed = make_module_bed(HOSTS)
    desk = bed.host("desk")
    with resolv_conf(desk, RESOLV_CONF):
        leaves = serve_page(bed.host("alpha"), 8080, "web", "env=prod")
        serve_page(bed.host("bravo"), 8080, "web", "env=test")
        forward(desk)
        file = placed(desk, "prometheus.yml", configuration("prometheus.yml"))
        desk.start(["prometheus", f"--config.file={file}", f"--storage.tsdb.path={desk.directory / 'data'}"]).wait_for(
            "ready to receive", timeout=20
        )
        yield bed, leaves


def api(host: Host, path: str) -> Any:
    return json.loads(fetch(host, f"http://127.0.0.1:9090/api/v1/{path}"))["data"]


def targets(host: Host, job: str) -> set[str]:
    """The `instance` of each target that Prometheus has, whether it answers or not."""
    found = api(host, "targets")["activeTargets"]
    return {each["labels"]["instance"] for each in found if each["labels"]["job"] == job}


def series(host: Host, query: str) -> list[dict[str, str]]:
    """The labels of all series that have a value now, without their name."""
    found = [each["metric"] for each in api(host, f"query?query={quote(query)}")["result"]]
    return sorted(({k: v for k, v in each.items() if k != "__name__"} for each in found), key=str)


def instances(bed: Bed, job: str, *pages: tuple[str, int]) -> set[str]:
    """How the targets of these pages are called there."""
    if job == "web-dns":
        return {f"{host}-{port}.web.minidisc:{port}" for host, port in pages}
    return {f"{bed.host(host).ipv4}:{port}" for host, port in pages}


def seconds_until_scraped(bed: Bed, *pages: tuple[str, int]) -> dict[str, float]:
    """How long it takes until a job has these targets, all others are dropped, and all are `up`; by job."""
    desk, began = bed.host("desk"), time.monotonic()
    took: dict[str, float] = {}

    def each_follows() -> bool:
        for job in JOBS:
            wanted = instances(bed, job, *pages)
            if job not in took and targets(desk, job) == wanted:
                up = {labels["instance"] for labels in series(desk, f'up{{job="{job}"}} == 1')}
                if up == wanted:
                    took[job] = time.monotonic() - began
        return len(took) == len(JOBS)

    seconds_until(each_follows, 60)
    return took


def test_all_instances_are_scraped_and_have_labels_by_http(office: Office, measured: Measured) -> None:
    bed, _ = office
    desk = bed.host("desk")
    for job, took in seconds_until_scraped(bed, ("alpha", 8080), ("bravo", 8080)).items():
        measured(
            f"Prometheus {version_of(desk, 'prometheus', '--version')} {job}: scraped {took:.1f} s after its start"
        )
    common = {"service": "web", "job": "web-http"}
    assert series(desk, 'page_up{job="web-http"}') == [
        {"env": "prod", "host": "alpha", "instance": f"{bed.host('alpha').ipv4}:8080", "who": "alpha:8080", **common},
        {"env": "test", "host": "bravo", "instance": f"{bed.host('bravo').ipv4}:8080", "who": "bravo:8080", **common},
    ]
    common = {"service": "web", "job": "web-dns"}
    assert series(desk, 'page_up{job="web-dns"}') == [
        {"instance": "alpha-8080.web.minidisc:8080", "who": "alpha:8080", **common},
        {"instance": "bravo-8080.web.minidisc:8080", "who": "bravo:8080", **common},
    ]


def test_scrapes_follow_an_instance_that_leaves_and_one_that_joins(office: Office, measured: Measured) -> None:
    bed, leaves = office
    leaves.signal(signal.SIGTERM)
    with serve_page(bed.host("bravo"), 8081):
        for job, took in seconds_until_scraped(bed, ("bravo", 8080), ("bravo", 8081)).items():
            measured(f"Prometheus {job}: one that leaves and one that joins are followed after {took:.1f} s")
        who = {labels["who"] for labels in series(bed.host("desk"), "page_up")}
        assert who == {"bravo:8080", "bravo:8081"}
