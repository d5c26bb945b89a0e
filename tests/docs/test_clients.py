"""The network on which other people's programs are tested, and that each file of docs/clients is tested."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from bed.hosts import Bed
from bed.resolvconf import resolv_conf
from conftest import MakeBed, Measured
from places import TESTS
from real_clients import CONFIGURATIONS, HOSTS, RESOLV_CONF, fetch, office, seconds_until, serve_page


@pytest.fixture(scope="module")
def bed(make_module_bed: MakeBed) -> Iterator[Bed]:
    """alpha and bravo serve pages, desk forwards."""
    bed = make_module_bed(HOSTS)
    with resolv_conf(bed.host("desk"), RESOLV_CONF):
        yield office(bed)


@pytest.mark.namespaces
def test_curl_fetches_the_page_by_name_and_no_longer_when_it_left(bed: Bed, measured: Measured) -> None:
    desk = bed.host("desk")
    url = "http://web.minidisc:8080/"
    # libc sorts what it finds, so as long as both are there it is the same one each time.
    seconds_until(lambda: fetch(desk, url) in {"alpha:8080", "bravo:8080"}, 10)
    with serve_page(desk, 8081, "solo"):
        took = seconds_until(lambda: fetch(desk, "http://solo.minidisc:8081/") == "desk:8081", 10)
        measured(f"curl: a page that joins is fetched after {took:.1f} s")
    took = seconds_until(lambda: desk.run(["getent", "ahostsv4", "solo.minidisc"]).returncode == 2, 15)
    measured(f"curl: a page that left has no name after {took:.1f} s")


def test_each_configuration_is_used_by_a_test_and_named_in_the_table() -> None:
    files = sorted(path.name for path in CONFIGURATIONS.iterdir() if path.name != "README.md")
    tests = "".join(path.read_text("utf-8") for path in TESTS.rglob("*.py"))
    table = (CONFIGURATIONS / "README.md").read_text("utf-8")
    assert [name for name in files if f'configuration("{name}"' not in tests] == []
    assert [name for name in files if f"({name})" not in table] == []
