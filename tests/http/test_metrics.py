"""What Prometheus reads: by its own parser, by promtool, and what the numbers mean on a real node."""

from __future__ import annotations

import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import dns.message
import dns.query
import pytest
from bed.dig import need
from docblocks import ROOT, blocks, table
from loopback import address, ask, fleet, network_of
from prometheus_client.parser import text_string_to_metric_families

import mddns
from mddns.base.model import Peer, Snapshot
from mddns.base.policy import Policy
from mddns.directory.directory import Directory
from mddns.directory.peer_memory import GONE_AFTER, Memory
from mddns.http.metrics import Extent, State, exposition, peer_states
from mddns.responder.counters import Counts

STATE = State("1.2.3", 1, [Extent('a "b"\\\n.', {"registry": 2, "silent": 1}, 7, 3), Extent("b.", {"none": 1}, 0, 0)])

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def read(text: str) -> Samples:
    """All samples by name and labels, as Prometheus' parser reads them."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, frozenset(labels.items())]


def full() -> Counts:
    counts = Counts()
    query = dns.message.make_query("web.minidisc", "SRV").to_wire()
    for transport in ("udp", "udp", "http"):
        counts.answered(query, bytes((0, 0, 0x84, 0)) + bytes(8), transport)
    counts.tally(query, bytes(12))["udp"] += 5
    counts.fanout.add(0.02)
    counts.fanout.add(9.0)
    counts.refused = 4
    counts.responded(200)
    return counts


def test_promtool_finds_no_fault() -> None:
    need("promtool")
    text = exposition(full(), STATE).body
    ran = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, timeout=60)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"", b"")


def test_the_document_tells_of_every_metric_and_label() -> None:
    rows = table((ROOT / "docs" / "http.md").read_text("utf-8"), "Metrics")
    told = {row["metric"]: (row["type"], set(filter(None, row["labels"].split(", ")))) for row in rows}
    text = exposition(full(), STATE).body.decode()
    found = {
        family.name + ("_total" if family.type == "counter" else ""): (
            family.type,
            {label for sample in family.samples for label in sample.labels if label != "le"},
        )
        for family in text_string_to_metric_families(text)
    }
    assert told == found


@pytest.mark.parametrize("number", [0, 1])
def test_promtool_takes_the_documents_configurations(number: int, tmp_path: Path) -> None:
    need("promtool")
    found = [block for block in blocks((ROOT / "docs" / "http.md").read_text("utf-8")) if block.language == "yml"]
    (tmp_path / "prometheus.yml").write_text(found[number].text)
    command = ["promtool", "check", "config", str(tmp_path / "prometheus.yml")]
    ran = subprocess.run(command, capture_output=True, timeout=60)
    assert ran.returncode == 0, ran.stderr


def test_its_parser_reads_every_number() -> None:
    samples = read(exposition(full(), STATE).body.decode())
    assert value(samples, "mddns_build_info", version="1.2.3") == 1
    assert value(samples, "mddns_queries_total", transport="udp", type="SRV", rcode="NOERROR") == 7
    assert value(samples, "mddns_queries_total", transport="http", type="SRV", rcode="NOERROR") == 1
    assert value(samples, "mddns_cache_hits_total") == 5
    assert value(samples, "mddns_cache_misses_total") == 3
    assert value(samples, "mddns_refused_total") == 4
    assert value(samples, "mddns_http_responses_total", code="200") == 1
    assert value(samples, "mddns_peers", state="silent", domain='a "b"\\\n') == 1
    assert value(samples, "mddns_services", domain='a "b"\\\n') == 7
    assert value(samples, "mddns_host_services", domain='a "b"\\\n') == 3
    assert value(samples, "mddns_tenants") == 1


def test_a_histogram_is_cumulative() -> None:
    samples = read(exposition(full(), STATE).body.decode())
    assert value(samples, "mddns_fanout_seconds_bucket", le="0.01") == 0
    assert value(samples, "mddns_fanout_seconds_bucket", le="0.025") == 1
    assert value(samples, "mddns_fanout_seconds_bucket", le="5.0") == 1
    assert value(samples, "mddns_fanout_seconds_bucket", le="+Inf") == 2
    assert value(samples, "mddns_fanout_seconds_count") == 2
    assert value(samples, "mddns_fanout_seconds_sum") == pytest.approx(9.02)


def test_peers_by_what_they_are_to_us() -> None:
    peers = tuple(Peer(f"p{n}", (f"100.64.0.{n}",)) for n in range(1, 6))
    directory = Directory(b"\x08minidisc\0", Memory(), Policy())
    directory.network(Snapshot(None, peers), with_own_host=False)
    for peer in peers[:3]:
        directory.answered(peer, (), 0.0)
    directory.refused(peers[3], 0.0)
    directory.missed(peers[1], 1.0)
    directory.missed(peers[2], GONE_AFTER)
    assert peer_states(directory, 2.0) == {"registry": 1, "silent": 2, "gone": 0, "none": 2}
    assert peer_states(directory, 2 * GONE_AFTER) == {"registry": 1, "silent": 0, "gone": 2, "none": 2}


@pytest.fixture(scope="module")
def node() -> Iterator[Peer]:
    """A node with a service; of its network's peers nobody is up."""
    everybody = fleet(2)
    with mddns.start_registry(network_of(everybody[0], everybody), timeout=0.2) as registry:
        registry.advertise_service(80, "web")
        yield everybody[0]


def scrape(peer: Peer) -> Samples:
    with urllib.request.urlopen(f"http://{peer.addresses[0]}:{peer.port}/metrics", timeout=5) as response:
        assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        return read(response.read().decode())


def queries(peer: Peer, **labels: str) -> float:
    return scrape(peer).get(("mddns_queries_total", frozenset(labels.items())), 0)


@pytest.mark.parametrize("rd", [False, True])
@pytest.mark.parametrize("tcp", [False, True])
def test_every_query_counts_kept_answer_or_not(node: Peer, tcp: bool, rd: bool) -> None:
    labels = {"transport": "tcp" if tcp else "udp", "type": "SRV", "rcode": "NOERROR"}
    before = queries(node, **labels)
    for _ in range(5):
        ask(node, "web SRV", tcp=tcp, rd=rd)
    assert queries(node, **labels) - before == 5


def test_a_query_over_http_counts_as_such(node: Peer) -> None:
    labels = {"transport": "http", "type": "A", "rcode": "NXDOMAIN"}
    before = queries(node, **labels)
    for _ in range(2):
        dns.query.https(
            dns.message.make_query("nothing.minidisc", "A"), f"http://{node.addresses[0]}:{node.port}/dns-query"
        )
    assert queries(node, **labels) - before == 2


def test_hits_and_misses_are_all_queries(node: Peer) -> None:
    before = scrape(node)
    for _ in range(4):
        ask(node, "unasked TXT")
    after = scrape(node)

    def more(name: str) -> float:
        return value(after, name) - value(before, name)

    assert more("mddns_cache_misses_total") == 1
    assert more("mddns_cache_hits_total") == 3


def test_a_strangers_question_for_the_whole_network_counts_as_refused(node: Peer) -> None:
    before = value(scrape(node), "mddns_refused_total")
    query = dns.message.make_query("web.minidisc", "SRV")
    dns.query.udp(query, node.addresses[0], port=node.port, source=address(), timeout=5)
    assert value(scrape(node), "mddns_refused_total") - before == 1


def test_what_there_is_is_told(node: Peer) -> None:
    samples = scrape(node)
    assert value(samples, "mddns_services", domain="minidisc") == 1
    assert value(samples, "mddns_host_services", domain="minidisc") == 1
    assert value(samples, "mddns_tenants") == 0
    assert sum(number for (name, _), number in samples.items() if name == "mddns_peers") == 1
    assert value(samples, "mddns_fanout_seconds_count") >= 1
