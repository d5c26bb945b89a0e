"""Plain names on a node without mddns: MagicDNS queries the servers of headscale's split DNS.

For minidisc, that is `md forward` at port 53 of alpha's address; for minidisc.internal, /dns-query at port 28004 of
bravo and charlie (DNS over HTTP); for dropped.test, an address with a port, which headscale leaves out.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from bed.dig import dig
from bed.process import wait_until

from .conftest import SPLIT
from .looking import doctor, offer
from .net import RealTailnet

MAGIC = "100.100.100.100"
INTERNAL = ("--domain", "minidisc.internal")
AT_53 = ("-p", "53")


@pytest.fixture(scope="module", autouse=True)
def services(net: RealTailnet, whole: None) -> Iterator[None]:
    with ExitStack() as stack:
        begin = stack.enter_context
        begin(offer(net["alpha"], "web", ":8080"))
        begin(offer(net["bravo"], "db", ":5432"))
        begin(offer(net["bravo"], *INTERNAL, "web", ":8080"))
        begin(offer(net["charlie"], *INTERNAL, "web", ":9090"))
        begin(net["alpha"].start([sys.executable, "-m", "http.server", "8080", "--bind", net["alpha"].ipv4]))
        forward = begin(
            net["alpha"].start(["md", "forward", "--listen", f"{net['alpha'].ipv4}:53", "--upstream", "198.51.100.99"])
        )
        forward.wait_for("try:", 20)
        yield


def getent(net: RealTailnet, name: str, database: str = "hosts") -> list[str]:
    return net["delta"].run(["getent", database, name], timeout=30).stdout.split()


def test_the_node_has_nothing_of_ours(net: RealTailnet) -> None:
    assert net["delta"].run(["cat", "/etc/resolv.conf"]).stdout.split("\n")[-5:-1] == [
        "",
        "nameserver 100.100.100.100",
        "nameserver fd7a:115c:a1e0::53",
        "search tail1234.ts.net",
    ]
    assert net["delta"].run(["ss", "-lnuH", "sport", "=", "53"]).stdout == ""


@pytest.mark.parametrize(("name", "address"), [("web.minidisc", "100.64.0.1"), ("db.minidisc", "100.64.0.2")])
def test_getent_finds_a_service_by_the_forwarder(net: RealTailnet, name: str, address: str) -> None:
    assert getent(net, name) == [address, name]


def test_getent_finds_services_by_http(net: RealTailnet) -> None:
    """The client accepts a URL as a nameserver, and queries it by POST; our nodes need no root."""
    found = getent(net, "web.minidisc.internal", "ahostsv4")
    assert {"100.64.0.2", "100.64.0.3"} <= set(found), found


def test_a_program_opens_it_by_name(net: RealTailnet) -> None:
    assert (
        net["delta"].run(["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "http://web.minidisc:8080/"]).stdout
        == "200"
    )


@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
@pytest.mark.parametrize("server", [MAGIC, "fd7a:115c:a1e0::53"])
@pytest.mark.parametrize(("apex", "web"), [("minidisc", "alpha-8080"), ("minidisc.internal", "bravo-8080")])
def test_srv_and_its_additionals_pass_magicdns(
    net: RealTailnet, apex: str, web: str, server: str, transport: str
) -> None:
    reply = dig(net["delta"], server, f"web.{apex}", "SRV", *AT_53, transport)
    assert reply.rcode == "NOERROR"
    assert f"web.{apex}. SRV 10 10 8080 {web}.web.{apex}." in reply.answer
    assert any(f"{web}.web.{apex}. A 100.64.0." in line for line in reply.additional)


@pytest.mark.parametrize("apex", ["minidisc", "minidisc.internal"])
def test_services_are_browsed_and_no_name_is_nxdomain(net: RealTailnet, apex: str) -> None:
    assert (
        f"_services._dns-sd._udp.{apex}. PTR _web._tcp.{apex}."
        in dig(net["delta"], MAGIC, f"_services._dns-sd._udp.{apex}", "PTR", *AT_53).answer
    )
    assert dig(net["delta"], MAGIC, f"nosuch.{apex}", "A", *AT_53).rcode == "NXDOMAIN"


@pytest.mark.parametrize("label", ["b", "db", "r", "dr", "lb"])
def test_browse_domains_are_denied_by_magicdns_itself(net: RealTailnet, label: str) -> None:
    reply = dig(net["delta"], MAGIC, f"{label}._dns-sd._udp.minidisc", "PTR", *AT_53)
    assert (reply.rcode, reply.authority) == ("NXDOMAIN", set())


def test_headscale_leaves_out_an_address_with_a_port(net: RealTailnet) -> None:
    """Queries for such a name get NXDOMAIN."""
    (server,) = SPLIT["dropped.test"]
    assert any("ignoring" in line and server in line for line in net.control.log.splitlines())
    assert dig(net["delta"], MAGIC, "x.dropped.test", "A", *AT_53).rcode == "NXDOMAIN"


@pytest.mark.parametrize("domain", [(), INTERNAL])
def test_the_doctor_sees_that_names_resolve(net: RealTailnet, domain: tuple[str, ...]) -> None:
    assert doctor(net["delta"], *domain)["resolution"]["state"] == "ok"


def test_one_server_of_two_is_enough(net: RealTailnet) -> None:
    """If bravo's port is blocked, charlie answers all queries."""
    net["bravo"].shut("tcp dport 28004")
    try:
        assert wait_until(lambda: "100.64.0.3" in getent(net, "web.minidisc.internal", "ahostsv4"), 20)
    finally:
        net["bravo"].calm()
