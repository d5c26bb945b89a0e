"""`md forward` before a validating unbound and zones that are really signed: what becomes of AD, DO and CD."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from bed.dig import Reply, need
from bed.hosts import Bed
from conftest import MakeBed
from forwarding import HERE, ask, forward

pytestmark = pytest.mark.namespaces

_AUTHORITY: Final = 5300
_ZONE: Final = """$TTL 60
@ SOA ns root 1 3600 600 86400 60
@ NS ns
ns A 192.0.2.53
www A 192.0.2.1
alias CNAME www
"""


def signed(folder: Path, zone: str) -> str:
    """Signs a zone, in `folder`/`zone`; its trust anchor. Of ``bogus.example`` a record is another than was signed."""
    (folder / zone).write_text(_ZONE)
    for options in (["-f", "KSK"], []):
        argv = ["dnssec-keygen", "-q", "-a", "ECDSAP256SHA256", *options, "-K", str(folder), zone]
        subprocess.run(argv, check=True, capture_output=True)
    argv = ["dnssec-signzone", "-q", "-S", "-K", str(folder), "-d", str(folder), "-o", zone, str(folder / zone)]
    subprocess.run(argv, check=True, capture_output=True, cwd=folder)
    file = folder / f"{zone}.signed"
    if zone.startswith("bogus"):
        file.write_text(file.read_text().replace("192.0.2.1\n", "192.0.2.66\n"))
    keys = [each.read_text() for each in folder.glob(f"K{zone}.*.key")]
    return next(line for key in keys for line in key.splitlines() if " 257 " in line and not line.startswith(";"))


@pytest.fixture(scope="module")
def bed(make_module_bed: MakeBed) -> Iterator[Bed]:
    """An authoritative nsd and a validating unbound on charlie, the forwarder on bravo."""
    for program in ("nsd", "unbound", "dnssec-keygen", "dnssec-signzone"):
        need(program)
    bed = make_module_bed(["alpha", "bravo", "charlie"])
    charlie = bed.host("charlie")
    folder = charlie.directory
    anchors = {zone: signed(folder, zone) for zone in ("signed.example", "bogus.example")}
    (folder / "plain.example.signed").write_text(_ZONE)
    zones = [*anchors, "plain.example"]
    conf = folder / "nsd.conf"
    conf.write_text(
        f'server:\n ip-address: {HERE}@{_AUTHORITY}\n username: ""\n pidfile: ""\n xfrdfile: ""\n zonelistfile: ""\n'
        f' zonesdir: "{folder}"\n verbosity: 2\nremote-control:\n control-enable: no\n'
        + "".join(f'zone:\n name: {zone}\n zonefile: "{folder}/{zone}.signed"\n' for zone in zones)
    )
    charlie.start(["nsd", "-d", "-c", str(conf)]).wait_for("nsd started", 10)
    conf = folder / "unbound.conf"
    conf.write_text(
        f'server:\n interface: {charlie.ipv4}\n do-daemonize: no\n chroot: ""\n username: ""\n pidfile: ""\n'
        f' directory: "{folder}"\n use-syslog: no\n access-control: 0.0.0.0/0 allow\n num-threads: 1\n'
        ' module-config: "validator iterator"\n do-not-query-localhost: no\n ede: yes\n'
        + "".join(f" trust-anchor: '{anchor}'\n" for anchor in anchors.values())
        + ' domain-insecure: "plain.example"\nremote-control:\n control-enable: no\n'
        + "".join(f"stub-zone:\n name: {zone}\n stub-addr: {HERE}@{_AUTHORITY}\n" for zone in zones)
    )
    charlie.start(["unbound", "-d", "-c", str(conf)]).wait_for("start of service", 10)
    bed.host("alpha").start(["md", "advertise", "web", ":8080"]).wait_for("advertised")
    forward(bed.host("bravo"), "--upstream", charlie.ipv4)
    return bed


def told(bed: Bed, name: str, *options: str, rtype: str = "A") -> Reply:
    return ask(bed.host("bravo"), name, rtype, *options)


def types(reply: Reply) -> set[str]:
    return {line.split()[1] for line in (*reply.answer, *reply.authority)}


@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
@pytest.mark.parametrize("again", [False, True])
def test_ad_comes_back_to_who_asks_with_ad_or_do_and_to_nobody_else(bed: Bed, transport: str, again: bool) -> None:
    """The second time from what is kept."""
    for options, wanted in (
        (["+adflag", "+nodnssec"], True),
        (["+noadflag", "+dnssec"], True),
        (["+noadflag", "+nodnssec"], False),
        (["+noadflag", "+noedns"], False),
        (["+adflag", "+noedns"], True),
    ):
        found = told(bed, "www.signed.example", transport, *options)
        assert "192.0.2.1" in str(found.answer)
        assert ("ad" in found.flags) is wanted, options


def test_there_is_no_ad_for_what_is_not_signed(bed: Bed) -> None:
    for _ in range(2):
        found = told(bed, "www.plain.example", "+adflag", "+dnssec")
        assert (found.answer, "ad" in found.flags) == ({"www.plain.example. A 192.0.2.1"}, False)


def test_signatures_are_for_who_asks_with_do_whoever_asked_before(bed: Bed) -> None:
    """An alias: a signature for each link of the chain. What is kept for one is no answer for the other."""
    for _ in range(2):
        for options, wanted in ((["+nodnssec"], {"CNAME", "A"}), (["+dnssec"], {"CNAME", "A", "RRSIG"})):
            found = told(bed, "alias.signed.example", *options)
            assert types(found) == wanted
    assert sum(" RRSIG " in line for line in told(bed, "alias.signed.example", "+dnssec").answer) == 2


def test_a_denial_is_proven_to_who_asks_with_do_alone(bed: Bed) -> None:
    for _ in range(2):
        plain, proven = told(bed, "no.signed.example", "+nodnssec"), told(bed, "no.signed.example", "+dnssec")
        assert (plain.rcode, types(plain)) == ("NXDOMAIN", {"SOA"})
        assert (proven.rcode, types(proven)) == ("NXDOMAIN", {"SOA", "NSEC", "RRSIG"})
        assert "ad" in proven.flags


def test_what_fails_validation_is_a_servfail_and_with_cd_it_is_there(bed: Bed) -> None:
    """And again, the other way round: neither is an answer for who asked the other way."""
    for _ in range(2):
        refused = told(bed, "www.bogus.example", "+nocd")
        assert (refused.rcode, refused.answer) == ("SERVFAIL", set())
        unchecked = told(bed, "www.bogus.example", "+cd", "+adflag")
        assert unchecked.answer == {"www.bogus.example. A 192.0.2.66"}
        assert "cd" in unchecked.flags
        assert "ad" not in unchecked.flags


def test_why_a_validator_refuses_is_told(bed: Bed) -> None:
    """The resolver's Extended DNS Error: it is another than ours, that no upstream has answered."""
    text = told(bed, "www.bogus.example").text
    assert "EDE: 6" in text
    assert "EDE: 22" not in text


def test_a_validating_client_behind_us_finds_everything_right(bed: Bed) -> None:
    """delv asks for keys and signatures by itself, with CD."""
    need("delv")
    bravo, charlie = bed.host("bravo"), bed.host("charlie")
    keys = [each.read_text().splitlines()[-1] for each in charlie.directory.glob("Ksigned.example.*.key")]
    flags, protocol, algorithm, *key = next(key for key in keys if " 257 " in key).split()[3:]
    anchor = bravo.directory / "anchor"
    anchor.write_text(
        f'trust-anchors {{ "signed.example." static-key {flags} {protocol} {algorithm} "{"".join(key)}"; }};\n'
    )
    argv = ["delv", f"@{HERE}", "-a", str(anchor), "+root=signed.example", "www.signed.example", "A"]
    done = bravo.run(argv)
    assert "fully validated" in done.stdout, done.stdout + done.stderr


def test_our_own_names_are_never_said_to_be_authentic(bed: Bed) -> None:
    for options in (["+adflag", "+dnssec"], ["+adflag"], ["+dnssec", "+cd"]):
        found = told(bed, "web.minidisc", *options, rtype="SRV")
        assert len(found.answer) == 1
        assert "ad" not in found.flags
        assert ("cd" in found.flags) == ("+cd" in options)
