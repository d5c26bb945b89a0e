"""What programs cannot do with our names, and what does it instead: docs/clients/README.md has them all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from bed.hosts import PORT, Bed
from bed.resolvconf import resolv_conf
from conftest import MakeBed
from real_clients import HOSTS, RESOLV_CONF, fetch, forward, hosts_in, last_line, placed, serve_page, until_all_see

pytestmark = pytest.mark.namespaces

# Prints the addresses of a name five times a second, as InetAddress has them.
ADDRESSES = """
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.util.Arrays;

public class Addresses {
    public static void main(String[] arguments) throws Exception {
        for (;; Thread.sleep(200)) {
            try {
                System.out.println(Arrays.toString(InetAddress.getAllByName(arguments[0])));
            } catch (UnknownHostException error) {
                System.out.println("none");
            }
        }
    }
}
"""

AIODNS = """
import asyncio, sys, aiodns

async def main():
    async with aiodns.DNSResolver(nameservers=[sys.argv[1]]) as resolver:
        for rtype in ("SRV", "TXT"):
            print(*[each.data for each in (await resolver.query_dns(sys.argv[2], rtype)).answer])

asyncio.run(main())
"""


MONGO = """
import sys, pymongo.errors, pymongo.uri_parser

try:
    found = pymongo.uri_parser.parse_uri(sys.argv[1])
    print(*(f"{host}:{port}" for host, port in sorted(found["nodelist"])), found["options"].get("replicaSet", ""))
except pymongo.errors.PyMongoError as error:
    print(error)
"""

SERVICES = """
services:
  - {name: mongo, address: ":27017", srv: mongodb}
  - {name: labelled, address: ":27018", srv: mongodb, labels: {env: prod}}
  - {name: replicas, address: ":27019", srv: mongodb, labels: {replicaSet: rs0}}
  - {name: mongodb, address: ":27020", labels: {env: prod}}
"""

DNS_SD = """
scrape_configs:
  - job_name: web
    dns_sd_configs: [{names: [web.minidisc]}]
"""


@pytest.fixture(scope="module")
def bed(make_module_bed: MakeBed) -> Iterator[Bed]:
    """alpha and bravo serve pages with labels, and say that they have databases; desk forwards."""
    bed = make_module_bed(HOSTS)
    with resolv_conf(bed.host("desk"), RESOLV_CONF):
        for name in ("alpha", "bravo"):
            serve_page(bed.host(name), 8080, "web", "env=prod", "zone=a")
            file = placed(bed.host(name), "services.yaml", SERVICES)
            bed.host(name).start(["md", "advertise", file]).wait_for("advertised")
        forward(bed.host("desk"))
        yield bed


# Ports


def test_who_asks_for_addresses_learns_no_port(bed: Bed) -> None:
    """So does every browser; port 80 needs none."""
    desk = bed.host("desk")
    with serve_page(bed.host("alpha"), 80, "site"):
        until_all_see(bed, {"curl": lambda: fetch(desk, "http://site.minidisc/")}, {"alpha"}, 15)
    assert desk.run(["curl", "-sS", "http://web.minidisc/"]).returncode == 7  # it found the host, and could not connect
    assert hosts_in(bed, fetch(desk, "http://web.minidisc:8080/"))


def test_prometheus_asks_at_port_53_alone(bed: Bed) -> None:
    """What needs no port 53 is http_sd: any node has it."""
    alpha, desk = bed.host("alpha"), bed.host("desk")
    http_sd = f"{{url: 'http://{bed.host('bravo').ipv4}:{PORT}/sd/prometheus?name=web'}}"
    found = {}
    with resolv_conf(alpha, RESOLV_CONF), forward(alpha, "--listen", "127.0.0.1:5354", "--upstream", "192.0.2.1"):
        for host, way, text in (
            (alpha, "dns", DNS_SD),
            (desk, "dns", DNS_SD),
            (alpha, "http", DNS_SD.replace("dns_sd", "http_sd").replace("{names: [web.minidisc]}", http_sd)),
        ):
            check = ["promtool", "check", "service-discovery", "--timeout=1s", placed(host, f"{way}.yml", text), "web"]
            found[host.name, way] = hosts_in(bed, host.run(check).stdout)
    both = {"alpha", "bravo"}
    assert found == {("alpha", "dns"): set(), ("desk", "dns"): both, ("alpha", "http"): both}


# Labels


def test_aiodns_runs_the_labels_of_an_instance_together(bed: Bed) -> None:
    """So who needs them asks for a view: web.prod._env.minidisc."""
    desk = bed.host("desk")
    for at in ("127.0.0.1:53", f"{bed.host('bravo').ipv4}:{PORT}"):
        srv, txt = desk.run(["python", "-c", AIODNS, at, "web.minidisc"]).stdout.splitlines()
        assert hosts_in(bed, srv) == {"alpha", "bravo"}
        assert "b'env=prodzone=a'" in txt


@pytest.mark.parametrize(
    ("name", "port", "rest"),
    [
        ("mongo", 27017, ""),
        ("replicas", 27019, " rs0"),  # a label that is an option is one
        ("", 27020, ""),  # the service `mongodb` itself, of the whole network
        ("prod._env", 27020, ""),  # and of a view
    ],
)
def test_mongodb_srv_finds_a_service_with_that_alias_or_name(bed: Bed, name: str, port: int, rest: str) -> None:
    """Whom it would connect to: Debian has no MongoDB."""
    at = f"{name}.minidisc".lstrip(".")
    service = "mongodb." if port == 27020 else ""
    assert mongo(bed, at) == " ".join(f"{host}-{port}.{service}{at}:{port}" for host in ("alpha", "bravo")) + rest


def test_mongodb_srv_takes_labels_for_options(bed: Bed) -> None:
    assert mongo(bed, "labelled.minidisc").startswith("Unknown option: env.")
    assert mongo(bed, "labelled.prod._env.minidisc").startswith("Unknown option: env.")


def mongo(bed: Bed, name: str) -> str:
    """Whom pymongo finds there, or what it has against it."""
    uri = f"mongodb+srv://{name}/?tls=false"
    return bed.host("desk").run(["python", "-c", MONGO, uri]).stdout.strip()


# Java


def test_java_keeps_addresses_for_30_seconds_unless_it_is_told_otherwise(bed: Bed) -> None:
    """SRV records by JNDI are not kept."""
    desk = bed.host("desk")
    source = placed(desk, "Addresses.java", ADDRESSES)
    with serve_page(bed.host("alpha"), 8082, "kept") as first, serve_page(bed.host("bravo"), 8082, "kept"):
        until_all_see(bed, {"dig": lambda: desk.run(["dig", "+short", "kept.minidisc"]).stdout}, {"alpha", "bravo"}, 15)
        programs = {
            option: desk.start(["java", *option.split(), source, "kept.minidisc"])
            for option in ("", "-Dsun.net.inetaddr.ttl=1")
        }
        clients = {option: lambda process=process: last_line(process) for option, process in programs.items()}
        until_all_see(bed, clients, {"alpha", "bravo"}, 15)
        first.terminate()
        told, untold = clients.pop("-Dsun.net.inetaddr.ttl=1"), clients.pop("")
        until_all_see(bed, {"told": told}, {"bravo"}, 15)
        assert hosts_in(bed, untold()) == {"alpha", "bravo"}
        for process in programs.values():
            process.close()


def test_java_takes_no_underscore_in_the_host_of_a_uri(bed: Bed) -> None:
    """So a view is a search domain there."""
    desk = bed.host("desk")
    source = (
        "public class Uri { public static void main(String[] names) throws Exception {"
        'for (var name : names) System.out.println(new java.net.URI("http://" + name + ":8080/").getHost()); } }'
    )
    asked = desk.run(["java", placed(desk, "Uri.java", source), "web.minidisc", "web.prod._env.minidisc"], timeout=20)
    assert asked.stdout.split() == ["web.minidisc", "null"]
