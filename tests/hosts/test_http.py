"""HTTP between hosts: what Prometheus and curl see of a network, and what attackers do not."""

from __future__ import annotations

import json
from collections.abc import Iterator

import dns.message
import dns.opcode
import dns.query
import dns.rcode
import dns.update
import pytest
from bed.dig import dig, need
from bed.hosts import PORT, Bed, Host
from bed.process import wait_until
from bed.tailnet import Node, phone
from conftest import MakeBed


@pytest.fixture(scope="module")
def bed(make_module_bed: MakeBed) -> Iterator[Bed]:
    """alpha and bravo offer a service of one name; charlie and a node of somebody else's tailnet ask."""
    bed = make_module_bed(["alpha", "bravo", "charlie", Node("stranger", shared_in=True)], others=[phone()])
    for name, env in (("alpha", "prod"), ("bravo", "dev")):
        md = bed.host(name).start(["md", "advertise", "web", ":8080", f"env={env}"])
        md.wait_for("advertised")
    return bed


def curl(host: Host, path: str, *options: str, at: str) -> tuple[int, str]:
    """Status and body."""
    need("curl")
    ran = host.run(["curl", "-s", "--max-time", "5", "-w", "\n%{http_code}", *options, f"http://{at}:{PORT}{path}"])
    body, _, status = ran.stdout.rpartition("\n")
    return int(status), body


def test_the_targets_of_the_whole_network_are_had_from_any_host(bed: Bed) -> None:
    for name in ("alpha", "bravo"):
        status, body = curl(bed.host("charlie"), "/sd/prometheus", at=bed.host(name).ipv4)
        assert status == 200
        found = {group["targets"][0]: group["labels"]["__meta_minidisc_host"] for group in json.loads(body)}
        assert found == {f"{bed.host(each).ipv4}:8080": each for each in ("alpha", "bravo")}


def test_every_node_tells_the_same_labels_whoever_offers_the_service(bed: Bed) -> None:
    told = {curl(bed.host("charlie"), "/sd/prometheus", at=bed.host(name).ipv4)[1] for name in ("alpha", "bravo")}
    (body,) = told
    for group in json.loads(body):
        assert group["labels"]["__meta_minidisc_network"] == "tailscale"
        assert "__meta_minidisc_owner" in group["labels"]


def test_filters_apply(bed: Bed) -> None:
    _, body = curl(bed.host("charlie"), "/sd/prometheus?name=web&label=env%3Ddev", at=bed.host("alpha").ipv4)
    assert [group["targets"] for group in json.loads(body)] == [[f"{bed.host('bravo').ipv4}:8080"]]


@pytest.mark.namespaces
def test_a_node_of_another_tailnet_gets_403(bed: Bed) -> None:
    for path in ("/sd/prometheus", "/metrics", "/dns-query", "/services"):
        assert curl(bed.host("stranger"), path, at=bed.host("alpha").ipv4)[0] == 403


@pytest.mark.namespaces
def test_it_is_had_over_ipv6_too(bed: Bed) -> None:
    assert curl(bed.host("charlie"), "/metrics", at=f"[{bed.host('alpha').ipv6}]")[0] == 200


PAGES = [
    ("Origin: http://evil.example", "a page of another site"),
    ("Origin: null", "a page from a file, or in a sandbox"),
    ("Referer: http://evil.example/", "an image of another site's page"),
    ("Sec-Fetch-Site: cross-site", "a form of another site"),
    ("Sec-Fetch-Site: same-site", "a page of another port"),
    ("Host: evil.example", "a name that was bound anew to this address"),
    ("Host: alpha.evil.example:28004", "the same, which begins as ours does"),
]


@pytest.mark.parametrize("path", ["/sd/prometheus", "/metrics", "/services", "/add-delegate"])
@pytest.mark.parametrize("header", [header for header, _ in PAGES], ids=[why for _, why in PAGES])
def test_a_browser_that_was_lured_gets_403_also_on_the_host_itself(bed: Bed, header: str, path: str) -> None:
    alpha = bed.host("alpha")
    for options in ((), ("-X", "POST", "-d", "x=y")):
        assert curl(alpha, path, "-H", header, *options, at=alpha.ipv4)[0] == 403


@pytest.mark.parametrize(
    "name", ["alpha", "alpha:28004", "ALPHA.", "web.minidisc", "localhost:28004", "alpha.{suffix}"]
)
def test_our_own_names_are_answered(bed: Bed, name: str) -> None:
    suffix = str(bed.tailnet.status(bed.host("alpha").node)["Self"]["DNSName"]).partition(".")[2].removesuffix(".")
    header = f"Host: {name.format(suffix=suffix)}"
    assert curl(bed.host("charlie"), "/metrics", "-H", header, at=bed.host("alpha").ipv4)[0] == 200


@pytest.mark.parametrize("at", ["charlie", "alpha"])
@pytest.mark.parametrize("transport", ["udp", "tcp", "http"])
def test_an_update_is_refused_from_anywhere(bed: Bed, transport: str, at: str) -> None:
    update = dns.update.UpdateMessage("minidisc.")
    update.add("evil-80.web.minidisc.", 5, "SRV", "0 0 80 evil-80.web.minidisc.")
    server = bed.host("alpha").ipv4

    def send() -> dns.message.Message:
        if transport == "http":
            update.id = 0
            return dns.query.https(update, f"http://{server}:{PORT}/dns-query", timeout=5)
        ask = dns.query.udp if transport == "udp" else dns.query.tcp
        return ask(update, server, port=PORT, timeout=5)

    assert bed.host(at).call(send).rcode() in (dns.rcode.NOTIMP, dns.rcode.REFUSED)
    reply = dig(bed.host("charlie"), server, "evil-80.web.minidisc", "SRV", "+norec")
    assert reply.rcode == "NXDOMAIN"


PROMETHEUS = """
global: {{scrape_interval: 1s}}
scrape_configs:
  - job_name: mddns
    static_configs: [{{targets: ["{alpha}:28004", "{bravo}:28004"]}}]
  - job_name: services
    http_sd_configs: [{{url: "http://{alpha}:28004/sd/prometheus?name=web", refresh_interval: 1s}}]
    relabel_configs:
      - {{source_labels: [__meta_minidisc_label_env], target_label: env}}
      - {{source_labels: [__meta_minidisc_host], target_label: host}}
"""


@pytest.mark.namespaces
def test_prometheus_itself_finds_and_scrapes(bed: Bed) -> None:
    need("prometheus")
    charlie = bed.host("charlie")
    file = charlie.directory / "prometheus.yml"
    file.write_text(PROMETHEUS.format(alpha=bed.host("alpha").ipv4, bravo=bed.host("bravo").ipv4))
    listen = f"{charlie.ipv4}:9090"
    storage = f"--storage.tsdb.path={charlie.directory / 'tsdb'}"
    prometheus = charlie.start(
        ["prometheus", f"--config.file={file}", storage, f"--web.listen-address={listen}", "--log.level=warn"]
    )

    def targets() -> dict[str, list[tuple[str, str]]]:
        """Of each job: addresses, and labels of what was discovered or health of what was not."""
        ran = charlie.run(["curl", "-sf", f"http://{listen}/api/v1/targets"])
        if ran.returncode:
            return {}
        found: dict[str, list[tuple[str, str]]] = {}
        for target in json.loads(ran.stdout)["data"]["activeTargets"]:
            labels = target["labels"]
            told = f"{labels['host']} {labels['env']}" if "env" in labels else target["health"]
            found.setdefault(labels["job"], []).append((labels["instance"], told))
        return {job: sorted(each) for job, each in found.items()}

    alpha, bravo = bed.host("alpha").ipv4, bed.host("bravo").ipv4
    expected = {
        "mddns": [(f"{alpha}:28004", "up"), (f"{bravo}:28004", "up")],
        "services": [(f"{alpha}:8080", "alpha prod"), (f"{bravo}:8080", "bravo dev")],
    }
    with prometheus:
        wait_until(lambda: targets() == expected, 30)
        assert targets() == expected, prometheus.stderr


@pytest.mark.namespaces
def test_http_goes_on_when_the_program_that_answered_is_killed(make_bed: MakeBed) -> None:
    bed = make_bed(["alpha", "bravo"])
    alpha, bravo = bed.hosts

    def tenants() -> str:
        _, body = curl(bravo, "/metrics", at=alpha.ipv4)
        return next((line for line in body.splitlines() if line.startswith("mddns_tenants ")), "")

    first = alpha.start(["md", "advertise", "web", ":80"])
    first.wait_for("advertised")
    assert tenants() == "mddns_tenants 0"
    alpha.start(["md", "advertise", "db", ":81"]).wait_for("advertised")
    assert tenants() == "mddns_tenants 1"
    first.kill()
    assert wait_until(lambda: tenants() == "mddns_tenants 0")
    _, body = curl(bravo, "/sd/prometheus", at=alpha.ipv4)
    assert [group["labels"]["__meta_minidisc_name"] for group in json.loads(body)] == ["db"]


@pytest.mark.namespaces
def test_through_userspace_networkings_127_0_0_1_nobody_gets_merged_answers(make_bed: MakeBed) -> None:
    """There a node of another tailnet cannot be told from a peer."""
    bed = make_bed(["alpha"])
    bed.tailnet.tun = False
    (alpha,) = bed.hosts
    alpha.start(["md", "advertise", "web", ":80"]).wait_for("advertised")
    for path in ("/sd/prometheus", "/metrics", "/dns-query"):
        assert curl(alpha, path, at="127.0.0.1")[0] == 403
    assert curl(alpha, "/nothing", at="127.0.0.1")[0] == 404
    assert curl(alpha, "/nothing", "-H", "Host: evil.example", at="127.0.0.1")[0] == 403
