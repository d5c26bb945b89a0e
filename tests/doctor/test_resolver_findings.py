"""What `md doctor` makes of the system's resolver."""

from __future__ import annotations

import pytest

from mddns.doctor.finding import FAIL, OK, WARN
from mddns.doctor.resolver_findings import (
    Resolution,
    ResolvConf,
    Server,
    Validators,
    dnssec,
    is_below,
    negative_anchors,
    port_53,
    read_resolv_conf,
    resolution,
    unbound_distrusts,
)

OWN = {"100.64.0.1", "100.64.0.2"}
RESOLVED = Server("127.0.0.53", 53, ((1, "systemd-resolve"),))


def test_resolv_conf_is_read_as_glibc_reads_it() -> None:
    text = "# nameserver 9.9.9.9\nsearch a b\nnameserver 1.1.1.1 # x\n nameserver ::1\nsearch prod._env.minidisc\n"
    assert read_resolv_conf(text) == ResolvConf(("1.1.1.1", "::1"), ("prod._env.minidisc",))
    assert read_resolv_conf("nameserver") == ResolvConf()


# --- port 53 ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("servers", "words"),
    [
        ([], "'md forward' would use 127.0.0.1:53"),
        ([RESOLVED], "127.0.0.53:53 (systemd-resolve pid 1); no server answers for minidisc; 'md forward' would use"),
        ([Server("0.0.0.0", 53, ((2, "dnsmasq"),))], "'md forward' would use 127.0.0.1:5354"),
        ([Server("127.0.0.1", 5354, (), True)], "127.0.0.1:5354 (answers for minidisc)"),
        ([Server("::1", 53, (), False)], "[::1]:53"),
    ],
)
def test_who_has_port_53_is_told_and_is_no_fault(servers: list[Server], words: str) -> None:
    found = port_53(servers, "minidisc")
    assert found.state == OK
    assert words in found.what


# --- resolution -------------------------------------------------------------------------------------------------------


def looked_up(
    *found: str, servers: tuple[str, ...] = ("9.9.9.9",), resolved: str | None = None, at: str = "linux"
) -> Resolution:
    return Resolution("ns.minidisc", found, "" if found else "no such name", ResolvConf(servers), resolved, at)


@pytest.mark.parametrize("address", ["100.64.0.2", "127.0.0.1", "::1"])
def test_an_address_of_the_network_or_of_loopback_came_from_us(address: str) -> None:
    assert resolution(looked_up(address), OWN, []).state == OK


def test_an_address_of_somebody_else_is_a_failure() -> None:
    found = resolution(looked_up("93.184.216.34"), OWN, [])
    assert found.state == FAIL
    assert "another DNS server answers for minidisc" in found.what
    assert found.fix


@pytest.mark.parametrize(
    ("facts", "servers", "fix"),
    [
        (looked_up(), [], "sudo md forward\n"),
        (looked_up(servers=("127.0.0.53",)), [RESOLVED], "sudo md setup resolved --apply"),
        (
            looked_up(servers=("127.0.0.1",)),
            [Server("0.0.0.0", 53, ((2, "dnsmasq"),))],
            "sudo md setup dnsmasq --apply",
        ),
        (looked_up(servers=("127.0.0.1",)), [Server("127.0.0.1", 53, ((2, "unbound"),))], "md setup unbound --apply"),
        (looked_up(servers=("127.0.0.1",)), [Server("127.0.0.1", 53)], "sudo md doctor"),
        (looked_up(servers=("127.0.0.1",)), [Server("::", 53, ((2, "coredns"),))], "md setup coredns"),
        (
            looked_up(servers=("127.0.0.1",)),
            [Server("127.0.0.1", 53, ((2, "kresd"),))],
            "md forward --listen 127.0.0.1:5354\n"
            "configure kresd to forward minidisc to 127.0.0.1:5354: see docs/clients",
        ),
        (looked_up(servers=("9.9.9.9",)), [Server("192.168.122.1", 53, ((2, "dnsmasq"),))], "sudo md forward\n"),
        (looked_up(servers=("100.100.100.100",)), [], "md setup tailscale"),
        (looked_up(at="darwin"), [], "sudo md setup macos --apply"),
        (
            looked_up(servers=("127.0.0.53",), resolved="Global: ~minidisc"),
            [RESOLVED],
            "md forward --listen 127.0.0.1:5354",
        ),
    ],
)
def test_what_mends_it_is_for_the_resolver_that_there_is(facts: Resolution, servers: list[Server], fix: str) -> None:
    found = resolution(facts, OWN, servers)
    assert found.state == WARN
    assert fix in found.fix


def test_where_all_is_in_place_resolved_itself_is_asked_why() -> None:
    facts = looked_up(servers="127.0.0.53", resolved="Global: ~minidisc")
    ours = Server("127.0.0.1", 5354, (), True)
    assert resolution(facts, OWN, [RESOLVED, ours]).fix == "resolvectl query ns.minidisc"


def test_a_domain_that_resolved_sends_on_is_not_one_that_only_looks_like_it() -> None:
    facts = looked_up(servers=("127.0.0.53",), resolved="Global: ~notminidisc minidisc.example")
    assert "setup resolved" in resolution(facts, OWN, [RESOLVED]).fix


# --- DNSSEC -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("conf", "resolvectl", "negative", "apex", "state"),
    [
        ("[Resolve]\nDNSSEC=yes\n", "", (), "minidisc", WARN),
        ("[Resolve]\nDNSSEC = allow-downgrade\n", "", (), "minidisc", WARN),
        ("[Resolve]\n#DNSSEC=yes\n", "", (), "minidisc", OK),
        ("[Resolve]\nDNSSEC=yes\n[Resolve]\nDNSSEC=false\n", "", (), "minidisc", OK),
        ("[Resolve]\nDNSSEC=yes\n", "", ("minidisc",), "minidisc", OK),
        ("[Resolve]\nDNSSEC=yes\n", "", (), "minidisc.internal", OK),
        ("", "Global: allow-downgrade\nLink 2 (eth0): no\n", (), "minidisc", WARN),
        ("[Resolve]\nDNSSEC=yes\n", "Global: no\n", (), "minidisc", OK),
    ],
)
def test_resolved_that_validates_needs_an_exception(
    conf: str, resolvectl: str, negative: tuple[str, ...], apex: str, state: str
) -> None:
    found = dnssec(apex, Validators(conf, resolvectl, negative))
    assert found.state == state
    assert (state == WARN) == (f"echo {apex} | sudo tee" in found.fix)


def test_where_nobody_validates_there_is_no_trap() -> None:
    assert dnssec("minidisc", Validators()).state == OK


ANCHORED = 'server:\n  auto-trust-anchor-file: "/var/lib/unbound/root.key"\n'
FORWARD = 'forward-zone:\n  name: "minidisc."\n  forward-addr: 127.0.0.1@5354\n'


@pytest.mark.parametrize(
    ("conf", "distrusts"),
    [
        (ANCHORED + FORWARD, True),
        (ANCHORED, False),  # it sends nothing on, so there is nothing to be taken for forged
        (FORWARD, False),  # it validates nothing
        (ANCHORED + 'server:\n  domain-insecure: "minidisc."\n' + FORWARD, False),
        (ANCHORED + '  # domain-insecure: "minidisc"\n' + FORWARD, True),
        (ANCHORED + '  module-config: "iterator"\n' + FORWARD, False),
    ],
)
def test_unbound_that_validates_needs_domain_insecure(conf: str, distrusts: bool) -> None:
    assert unbound_distrusts("minidisc", conf) == distrusts
    assert dnssec("minidisc", Validators(unbound=conf)).state == (WARN if distrusts else OK)


def test_a_name_is_below_another_by_whole_labels() -> None:
    assert is_below("a.Internal.", ["internal"])
    assert not is_below("notinternal", ["internal", ""])


def test_negative_anchors_are_a_name_a_line() -> None:
    assert negative_anchors(["; a comment\nminidisc\n\n", "corp.example."]) == ("minidisc", "corp.example.")
