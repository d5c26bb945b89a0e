"""Node, Java, dnspython and aiodns ask for SRV records, each by its file of docs/clients."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from bed.dig import need
from bed.hosts import PORT, Bed
from bed.process import Process
from bed.resolvconf import resolv_conf
from conftest import MakeBed, Measured
from real_clients import (
    HOSTS,
    RESOLV_CONF,
    configuration,
    follow,
    forward,
    hosts_in,
    last_line,
    offer_many,
    placed,
    seconds_until,
    serve_page,
    until_all_see,
    version_of,
)

pytestmark = pytest.mark.namespaces

PROGRAMS = {
    "Node": (["node"], "node_srv.js", configuration("node_srv.js")),
    "Java": (["java"], "Srv.java", configuration("Srv.java")),
    "dnspython": (["python"], "dnspython_client.py", configuration("dnspython_client.py")),
    "aiodns": (["python"], "aiodns_client.py", configuration("aiodns_client.py")),
}
VERSIONS = {
    "Node": ["node", "--version"],
    "Java": ["java", "--version"],
    "dnspython": ["python", "-c", "import dns.version; print(dns.version.version)"],
    "aiodns": ["python", "-c", "import aiodns; print(aiodns.__version__)"],
}

# What a list of types gives, and each alone.
TYPES = """
import java.util.Hashtable;
import javax.naming.directory.InitialDirContext;

public class Types {
    public static void main(String[] arguments) throws Exception {
        String name = arguments[0];
        for (int at = 1; at < arguments.length; at++) {
            var settings = new Hashtable<String, String>();
            settings.put("java.naming.factory.initial", "com.sun.jndi.dns.DnsContextFactory");
            settings.put("java.naming.provider.url", arguments[at]);
            var dns = new InitialDirContext(settings);
            System.out.println(dns.getAttributes(name, new String[] {"SRV", "TXT"}).size());
            System.out.println(dns.getAttributes(name, new String[] {"SRV"}).get("SRV"));
            System.out.println(dns.getAttributes(name, new String[] {"TXT"}).get("TXT"));
        }
    }
}
"""

NODE = """
const { Resolver, lookup } = require('node:dns').promises;
(async () => {
  const resolver = new Resolver();
  resolver.setServers([process.argv[1]]);
  const [name] = process.argv.slice(2);
  console.log((await resolver.resolveSrv(name)).map((each) => `${each.name}:${each.port}`).sort().join(' '));
  console.log((await resolver.resolveTxt(name)).map((each) => each.join(' ')).join(', '));
  console.log((await resolver.resolve4(name)).sort().join(' '));
  console.log((await lookup(name, { all: true })).map((each) => each.address).sort().join(' '));
})();
"""


AIODNS = """
import asyncio, sys, aiodns

async def main():
    async with aiodns.DNSResolver() as resolver:
        print((await resolver.query_dns(sys.argv[1], "SRV")).answer)

asyncio.run(main())
"""

# The SRV records of a name.
RECORDS = {
    "Node": ["node", "-e", NODE, "127.0.0.1:53", "many.minidisc"],
    "Java": ["java", "Types.java", "many.minidisc", "dns://127.0.0.1:53"],
    "dnspython": ["python", "-c", "import dns.resolver; print(*dns.resolver.resolve('many.minidisc', 'SRV'))"],
    "aiodns": ["python", "-c", AIODNS, "many.minidisc"],
}


@pytest.fixture(scope="module")
def bed(make_module_bed: MakeBed) -> Iterator[Bed]:
    """alpha and bravo serve pages with labels; desk forwards."""
    bed = make_module_bed(HOSTS)
    with resolv_conf(bed.host("desk"), RESOLV_CONF):
        for name in ("alpha", "bravo"):
            serve_page(bed.host(name), 8080, "web", "env=prod", "zone=a")
        forward(bed.host("desk"))
        yield bed


def start(bed: Bed, client: str, name: str) -> Process:
    """A program of docs/clients, asking for that service over and over."""
    program, file, text = PROGRAMS[client]
    need(program[0])
    desk = bed.host("desk")
    return desk.start([*program, placed(desk, file, text), name])


def test_each_prints_the_pages_of_those_that_are_there_and_follows_them(bed: Bed, measured: Measured) -> None:
    """Half a second of it is the pause between two questions."""
    started = {client: start(bed, client, "moving.minidisc") for client in PROGRAMS}
    clients = {client: lambda process=process: last_line(process) for client, process in started.items()}
    joined, left = follow(bed, clients, "moving", 8081)
    measured(f"found who joined: {joined}")
    measured(f"forgot who left: {left}")
    # A name that is gone ends none of them.
    until_all_see(bed, clients, set(), 15)
    assert {client: process.returncode for client, process in started.items()} == dict.fromkeys(PROGRAMS)
    for client, process in started.items():
        measured(f"{client} {version_of(bed.host('desk'), *VERSIONS[client])}")
        process.close()


# What each makes of records


@pytest.mark.parametrize("at", ["127.0.0.1:53", f"bravo:{PORT}"])
def test_node_has_hosts_ports_labels_and_addresses(bed: Bed, at: str) -> None:
    desk = bed.host("desk")
    at = at.replace("bravo", bed.host("bravo").ipv4)
    addresses = f"{bed.host('alpha').ipv4} {bed.host('bravo').ipv4}"
    assert desk.run(["node", "-e", NODE, at, "web.minidisc"]).stdout.splitlines() == [
        "alpha-8080.web.minidisc:8080 bravo-8080.web.minidisc:8080",
        "env=prod zone=a",
        addresses,
        addresses,  # of libc, by resolv.conf
    ]


def test_60_instances_come_by_tcp(bed: Bed) -> None:
    """More than the 512 or 1232 octets that they take by UDP."""
    desk = bed.host("desk")
    placed(desk, "Types.java", TYPES)
    with offer_many(bed.host("alpha"), "many", 60):
        seconds_until(lambda: "alpha-9160" in desk.run(["dig", "+short", "SRV", "many.minidisc"]).stdout, 15)
        for client, argv in RECORDS.items():
            text = desk.run(argv, timeout=20).stdout
            assert len(set(re.findall(r"alpha-91\d\d\.many", text))) == 60, client


def test_jndi_has_one_type_at_a_time(bed: Bed) -> None:
    """It makes ANY of two, to which one RRset is the answer (RFC 8482). TXT strings have a space between them."""
    desk = bed.host("desk")
    servers = [f"dns://{at}" for at in ("127.0.0.1:53", f"{bed.host('bravo').ipv4}:{PORT}")]
    asked = desk.run(["java", placed(desk, "Types.java", TYPES), "web.minidisc", *servers], timeout=20)
    lines = asked.stdout.splitlines()
    assert len(lines) == 6
    for count, srv, txt in (lines[:3], lines[3:]):
        assert count == "1"
        assert hosts_in(bed, srv) == {"alpha", "bravo"}
        assert srv.count(" 8080 ") == 2
        assert txt == "TXT: env=prod zone=a"
