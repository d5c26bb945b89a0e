"""Real dig and kdig ask nodes between hosts: what they see is the protocol."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from bed.dig import Reply, dig
from bed.hosts import Bed
from bed.tailnet import Node, phone
from conftest import MakeBed

pytestmark = pytest.mark.quick  # what dig sees is the protocol, and a question takes it a few hundredths of a second

APEX_SOA = re.compile(r"minidisc\. SOA ns\.minidisc\. hostmaster\.minidisc\. \d+ 60 10 3600 1")


@pytest.fixture(scope="module")
def bed(make_module_bed: MakeBed) -> Iterator[Bed]:
    """alpha offers two services, bravo one of the same name and a UDP one, charlie nothing; one phone."""
    bed = make_module_bed(["alpha", "bravo", "charlie"], others=[phone()])
    alpha = """
services:
  - {name: web, address: ":8080", labels: {env: prod, region: eu, zone: a, tier: front}}
  - {name: db, address: ":5432", labels: {version: 1.10}}
"""
    bravo = """
services:
  - {name: web, address: ":8080", labels: {env: dev}}
  - {name: syslog, address: ":514", protocol: udp, priority: 5, weight: 7}
"""
    for name, text in (("alpha", alpha), ("bravo", bravo)):
        file = bed.host(name).directory / "services.yaml"
        file.write_text(text)
        bed.host(name).start(["md", "advertise", str(file)]).wait_for("advertised")
    return bed


def ask(bed: Bed, name: str, rtype: str = "SRV", *options: str, at: str = "alpha", program: str = "dig") -> Reply:
    return dig(bed.host("charlie"), bed.host(at).ipv4, name, rtype, *options, program=program)


@pytest.mark.parametrize("program", ["dig", "kdig"])
@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
def test_rd_0_gives_what_this_host_offers_labels_and_addresses_with_it(bed: Bed, program: str, transport: str) -> None:
    reply = ask(bed, "web.minidisc", "SRV", "+norec", transport, program=program)
    assert reply.rcode == "NOERROR"
    assert reply.answer == {"web.minidisc. SRV 10 10 8080 alpha-8080.web.minidisc."}
    txt = next(line for line in reply.additional if " TXT " in line)
    assert txt.startswith('alpha-8080.web.minidisc. TXT "env=prod" "region=eu" "tier=front" "zone=a" "md.since=')
    assert f"alpha-8080.web.minidisc. A {bed.host('alpha').ipv4}" in reply.additional


@pytest.mark.parametrize("program", ["dig", "kdig"])
@pytest.mark.parametrize("at", ["alpha", "bravo"])
def test_rd_1_gives_the_whole_network_from_any_node(bed: Bed, program: str, at: str) -> None:
    reply = ask(bed, "web.minidisc", "SRV", "+rec", at=at, program=program)
    assert reply.answer == {
        "web.minidisc. SRV 10 10 8080 alpha-8080.web.minidisc.",
        "web.minidisc. SRV 10 10 8080 bravo-8080.web.minidisc.",
    }
    assert {"qr", "aa", "rd", "ra"} <= reply.flags
    assert "ad" not in reply.flags


@pytest.mark.namespaces
@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
def test_a_node_answers_at_its_ipv6_address(bed: Bed, transport: str) -> None:
    reply = dig(bed.host("charlie"), bed.host("alpha").ipv6, "web.minidisc", "SRV", "+norec", transport)
    assert reply.answer == {"web.minidisc. SRV 10 10 8080 alpha-8080.web.minidisc."}


@pytest.mark.parametrize(
    ("name", "rtype", "expected"),
    [
        ("web.minidisc", "TXT", {'web.minidisc. TXT "env=prod" "region=eu" "tier=front" "zone=a"'}),
        ("db.minidisc", "TXT", {'db.minidisc. TXT "version=1.10"'}),
        ("web.minidisc", "A", {"web.minidisc. A ALPHA"}),
        ("alpha-8080.web.minidisc", "SRV", {"alpha-8080.web.minidisc. SRV 10 10 8080 alpha-8080.web.minidisc."}),
        ("alpha-8080.web.minidisc", "A", {"alpha-8080.web.minidisc. A ALPHA"}),
        ("_web._tcp.minidisc", "SRV", {"_web._tcp.minidisc. SRV 10 10 8080 alpha-8080.web.minidisc."}),
        ("_web._tcp.minidisc", "PTR", {"_web._tcp.minidisc. PTR alpha-8080._web._tcp.minidisc."}),
        (
            "alpha-8080._web._tcp.minidisc",
            "SRV",
            {"alpha-8080._web._tcp.minidisc. SRV 10 10 8080 alpha-8080.web.minidisc."},
        ),
        (
            "_services._dns-sd._udp.minidisc",
            "PTR",
            {
                "_services._dns-sd._udp.minidisc. PTR _db._tcp.minidisc.",
                "_services._dns-sd._udp.minidisc. PTR _web._tcp.minidisc.",
            },
        ),
        (
            "_list.minidisc",
            "PTR",
            {"_list.minidisc. PTR alpha-8080.web.minidisc.", "_list.minidisc. PTR alpha-5432.db.minidisc."},
        ),
        ("minidisc", "NS", {"minidisc. NS ns.minidisc."}),
        ("ns.minidisc", "A", {"ns.minidisc. A ALPHA"}),
        ("_mddns.minidisc", "TXT", {'_mddns.minidisc. TXT "md.v=1"'}),
        (
            "web.prod._env.minidisc",
            "SRV",
            {"web.prod._env.minidisc. SRV 10 10 8080 alpha-8080.web.prod._env.minidisc."},
        ),
        (
            "web.a._zone.front._tier.eu._region.prod._env.minidisc",
            "A",
            {"web.a._zone.front._tier.eu._region.prod._env.minidisc. A ALPHA"},
        ),
    ],
)
def test_each_record_of_the_zone(bed: Bed, name: str, rtype: str, expected: set[str]) -> None:
    reply = ask(bed, name, rtype, "+norec")
    assert reply.answer == {line.replace("ALPHA", bed.host("alpha").ipv4) for line in expected}


def test_the_instances_txt_tells_since_when_it_is_up(bed: Bed) -> None:
    (txt,) = ask(bed, "alpha-8080.web.minidisc", "TXT", "+norec").answer
    assert re.search(r'"md\.since=\d{13}"', txt)


def test_a_udp_service_stands_under_udp_with_its_priority_and_weight(bed: Bed) -> None:
    reply = ask(bed, "_syslog._udp.minidisc", "SRV", "+norec", at="bravo")
    assert reply.answer == {"_syslog._udp.minidisc. SRV 5 7 514 bravo-514-udp.syslog.minidisc."}


@pytest.mark.namespaces
def test_the_name_server_has_both_families(bed: Bed) -> None:
    assert ask(bed, "ns.minidisc", "AAAA", "+norec").answer == {f"ns.minidisc. AAAA {bed.host('alpha').ipv6}"}


@pytest.mark.parametrize("flag", ["+norec", "+rec"])
@pytest.mark.parametrize(
    ("name", "rtype", "rcode"),
    [
        ("nope.minidisc", "SRV", "NXDOMAIN"),
        ("db.dev._env.minidisc", "SRV", "NXDOMAIN"),
        ("web.prod._env.prod._env.minidisc", "SRV", "NXDOMAIN"),
        ("web.minidisc", "MX", "NOERROR"),
        ("web.minidisc", "AAAA", "NOERROR"),
        ("_tcp.minidisc", "SRV", "NOERROR"),
        ("_env.minidisc", "TXT", "NOERROR"),
        ("prod._env.minidisc", "A", "NOERROR"),
    ],
)
def test_what_is_not_there_is_denied_with_the_apex_soa(bed: Bed, flag: str, name: str, rtype: str, rcode: str) -> None:
    reply = ask(bed, name, rtype, flag)
    assert (reply.rcode, reply.answer) == (rcode, set())
    (soa,) = reply.authority
    assert APEX_SOA.fullmatch(soa)
    assert reply.ttls == {1}


@pytest.mark.parametrize("name", ["example.com", "minidisc.example", "xminidisc"])
def test_outside_the_zone_is_refused_not_silence(bed: Bed, name: str) -> None:
    reply = ask(bed, name, "A")
    assert reply.rcode == "REFUSED"
    assert "aa" not in reply.flags


def test_the_question_is_echoed_as_it_was_asked(bed: Bed) -> None:
    reply = ask(bed, "wEb.MiNiDiSc", "SRV", "+norec")
    assert reply.answer == {"wEb.MiNiDiSc. SRV 10 10 8080 alpha-8080.web.minidisc."}
    assert ";wEb.MiNiDiSc." in reply.text


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 1232, 1400, 4096])
def test_every_edns_size_is_answered(bed: Bed, size: int) -> None:
    reply = ask(bed, "web.minidisc", "SRV", "+norec", "+ignore", f"+bufsize={size}")
    assert reply.rcode == "NOERROR"
    assert len(reply.answer) == 1


def test_edns_1_is_badvers(bed: Bed) -> None:
    assert ask(bed, "web.minidisc", "SRV", "+edns=1", "+noednsnegotiation").rcode == "BADVERS"


def test_any_gets_one_rrset(bed: Bed) -> None:
    reply = ask(bed, "web.minidisc", "ANY", "+norec", "+notcp")
    assert reply.answer == {"web.minidisc. SRV 10 10 8080 alpha-8080.web.minidisc."}


def test_several_queries_go_over_one_connection(bed: Bed) -> None:
    each = ["+short", "+tcp", "+keepopen", "+norec"]
    server = [f"@{bed.host('alpha').ipv4}", "-p", "28004"]
    done = bed.host("charlie").run(["dig", *server, *each, "web.minidisc", "SRV", *each, "db.minidisc", "SRV"])
    assert done.stdout.splitlines() == ["10 10 8080 alpha-8080.web.minidisc.", "10 10 5432 alpha-5432.db.minidisc."]


def test_300_instances_of_one_name_come_whole_over_tcp_and_truncated_over_udp(make_bed: MakeBed) -> None:
    bed = make_bed(["alpha", "bravo"])
    file = bed.host("alpha").directory / "many.yaml"
    file.write_text("services:\n" + "".join(f'  - {{name: web, address: ":{n}"}}\n' for n in range(1001, 1301)))
    bed.host("alpha").start(["md", "advertise", str(file)]).wait_for("advertised")
    reply = dig(bed.host("bravo"), bed.host("alpha").ipv4, "web.minidisc", "SRV", "+norec", "+ignore", "+bufsize=1232")
    if bed.namespaces:
        assert "tc" in reply.flags
        assert not reply.answer
        assert "EDNS: version: 0" in reply.text
    whole = dig(bed.host("bravo"), bed.host("alpha").ipv4, "web.minidisc", "SRV", "+norec")
    assert whole.answer == {f"web.minidisc. SRV 10 10 {n} alpha-{n}.web.minidisc." for n in range(1001, 1301)}


@pytest.mark.namespaces
def test_a_stranger_gets_a_hosts_own_records_but_no_merged_ones(make_bed: MakeBed) -> None:
    bed = make_bed(["alpha", "mallory"])
    bed.tailnet.remove(bed.host("mallory").node)
    bed.host("alpha").start(["md", "advertise", "web", ":80"]).wait_for("advertised")
    own = dig(bed.host("mallory"), bed.host("alpha").ipv4, "web.minidisc", "SRV", "+norec")
    merged = dig(bed.host("mallory"), bed.host("alpha").ipv4, "web.minidisc", "SRV", "+rec")
    assert len(own.answer) == 1
    assert merged.rcode == "REFUSED"
    assert "EDE: 18 (Prohibited)" in merged.text


def test_a_shared_in_node_may_not_ask_for_all(make_bed: MakeBed) -> None:
    bed = make_bed(["alpha", Node("guest", shared_in=True)])
    bed.host("alpha").start(["md", "advertise", "web", ":80"]).wait_for("advertised")
    assert dig(bed.host("guest"), bed.host("alpha").ipv4, "web.minidisc", "SRV", "+rec").rcode == "REFUSED"
