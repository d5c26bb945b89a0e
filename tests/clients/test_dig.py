"""dig, kdig, host and delv find services, by `md forward` and by any node's port 28004."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from bed.dig import need
from bed.hosts import PORT, Bed
from bed.resolvconf import resolv_conf
from conftest import MakeBed, Measured
from real_clients import (
    FORWARDER,
    HOSTS,
    RESOLV_CONF,
    configuration,
    follow,
    hosts_in,
    offer_many,
    office,
    placed,
    version_of,
)

pytestmark = pytest.mark.namespaces

TOOLS = {
    "dig": "dig @{at} -p {port} +short SRV {name}",
    "kdig": "kdig @{at} -p {port} +short SRV {name}",
    "host": "host -p {port} -t SRV {name} {at}",
    "delv": "delv -i @{at} -p {port} SRV {name}",
}


@pytest.fixture(scope="module")
def bed(make_module_bed: MakeBed) -> Iterator[Bed]:
    """alpha and bravo serve pages, desk forwards."""
    bed = make_module_bed(HOSTS)
    with resolv_conf(bed.host("desk"), RESOLV_CONF):
        yield office(bed)


def ask(bed: Bed, tool: str, name: str = "web.minidisc", at: str = FORWARDER, port: int = 53) -> str:
    """What a tool says about the SRV records of a name."""
    need(tool)
    done = bed.host("desk").run(TOOLS[tool].format(at=at, port=port, name=name).split())
    return done.stdout + done.stderr


@pytest.mark.parametrize("tool", TOOLS)
def test_tells_host_and_port_of_each_instance(bed: Bed, tool: str, measured: Measured) -> None:
    text = ask(bed, tool)
    assert all(f"10 10 8080 {host}-8080.web.minidisc." in text for host in ("alpha", "bravo"))
    measured(f"{tool} {version_of(bed.host('desk'), tool, '-v' if tool in ('dig', 'delv') else '-V')}")


@pytest.mark.parametrize("tool", TOOLS)
def test_tells_the_same_at_the_port_of_a_node(bed: Bed, tool: str) -> None:
    """Nothing runs on desk for that."""
    text = ask(bed, tool, at=bed.host("bravo").ipv4, port=PORT)
    assert all(f"10 10 8080 {host}-8080.web.minidisc." in text for host in ("alpha", "bravo"))


@pytest.mark.parametrize(("tool", "says"), [("host", "3(NXDOMAIN)"), ("delv", "ncache nxdomain")])
def test_a_name_that_nobody_has_is_told_so(bed: Bed, tool: str, says: str) -> None:
    assert says in ask(bed, tool, "no.minidisc")


def test_60_instances_come_by_tcp(bed: Bed) -> None:
    """More than 1232 octets, from a node to another host."""
    alpha = bed.host("alpha")
    with offer_many(alpha, "many", 60):
        for tool in TOOLS:
            text = ask(bed, tool, "many.minidisc", alpha.ipv4, PORT)
            assert len(set(re.findall(r"alpha-91\d\d\.many", text))) == 60, tool


def test_delv_that_validates_finds_no_chain_of_trust(bed: Bed) -> None:
    """Nobody signs our names: hence its -i."""
    assert "broken trust chain" in bed.host("desk").run(["delv", "SRV", "web.minidisc"]).stderr


def test_dig_and_curl_fetch_the_page_of_each_instance(bed: Bed) -> None:
    """A port of each instance's own: what a name alone cannot say."""
    desk = bed.host("desk")
    script = placed(desk, "srv.sh", configuration("srv.sh"))
    assert sorted(desk.run(["sh", script, "web.minidisc"]).stdout.split()) == ["alpha:8080", "bravo:8080"]


def test_each_follows_who_joins_and_who_leaves(bed: Bed, measured: Measured) -> None:
    name = "moving.minidisc"
    joined, left = follow(bed, {tool: lambda tool=tool: ask(bed, tool, name) for tool in TOOLS}, "moving", 8081)
    measured(f"found who joined: {joined}")
    measured(f"forgot who left: {left}")
    assert hosts_in(bed, ask(bed, "dig")) == {"alpha", "bravo"}
