"""Names that trouble real programs: names beyond ASCII, aliases from another zone, names of special use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from bed.dig import need
from bed.hosts import Bed
from bed.process import wait_until
from bed.resolvconf import resolv_conf
from conftest import MakeBed
from real_clients import HOSTS, RESOLV_CONF, fetch, forward, placed, serve_page

pytestmark = pytest.mark.namespaces

NODE = """
const { Resolver } = require('node:dns').promises;
const resolver = new Resolver();
resolver.setServers([process.argv[2]]);
resolver.resolveSrv(process.argv[3]).then(async (found) => {
  for (const { name, port } of found) console.log(name, port, ...(await resolver.resolve4(name)));
}, (error) => console.log(error.code));
"""

HAPROXY = """
resolvers minidisc
    nameserver md 127.0.0.1:53
    accepted_payload_size 8192
    hold valid 1s
defaults
    mode http
    timeout connect 1s
    timeout client 30s
    timeout server 30s
frontend page
    bind 127.0.0.1:8000
    default_backend cafe
backend cafe
    server-template cafe 3 _xn--caf-dma._tcp.minidisc resolvers minidisc init-addr none check inter 1s
"""

# The upstream knows an alias, and says that nothing under minidisc exists; and it lies about localhost.
UPSTREAM = """
port=53
listen-address={address}
bind-interfaces
no-resolv
no-hosts
no-poll
pid-file=
user=root
local=/minidisc/
cname=app.example,café.minidisc
host-record=app2.example,192.0.2.66
address=/localhost/192.0.2.1
address=/onion/192.0.2.1
address=/invalid/192.0.2.1
"""


UNBOUND = """
server:
  interface: 127.0.0.1@5300
  do-not-query-localhost: no
  username: ""
  chroot: ""
  pidfile: ""
  use-syslog: no
  module-config: "iterator"
  do-daemonize: no
forward-zone:
  name: "."
  forward-addr: 127.0.0.1@53
"""


@pytest.fixture(scope="module")
def bed(make_module_bed: MakeBed) -> Iterator[Bed]:
    """alpha serves café; desk forwards, and asks a dnsmasq on bravo for all other names."""
    for program in ("node", "haproxy", "dnsmasq", "unbound"):
        need(program)
    bed = make_module_bed(HOSTS)
    bravo, desk = bed.host("bravo"), bed.host("desk")
    conf = placed(bravo, "dnsmasq.conf", UPSTREAM.replace("café", "web").format(address=bravo.ipv4))
    bravo.start(["dnsmasq", "--keep-in-foreground", "--log-facility=-", f"--conf-file={conf}"]).wait_for("started")
    with resolv_conf(desk, RESOLV_CONF):
        serve_page(bed.host("alpha"), 8080, "Café", "env=prod")
        serve_page(bed.host("alpha"), 8081, "web", "env=prod")
        forward(desk, "--upstream", bravo.ipv4)
        assert wait_until(lambda: "8081" in desk.run(["dig", "+short", "SRV", "web.minidisc"]).stdout, 20)
        yield bed


@pytest.mark.parametrize("server", ["127.0.0.1:53", "node"])
@pytest.mark.parametrize(
    "name", ["xn--caf-dma.minidisc", "_xn--caf-dma._tcp.minidisc", "xn--caf-dma.prod._env.minidisc"]
)
def test_node_resolves_srv_of_a_name_beyond_ascii(bed: Bed, name: str, server: str) -> None:
    desk, alpha = bed.host("desk"), bed.host("alpha")
    at = server if server != "node" else f"{alpha.ipv4}:28004"
    file = placed(desk, "srv.js", NODE)
    ends = name.removeprefix("_").replace("._tcp", "")
    wanted = f"alpha-8080.{ends} 8080 {alpha.ipv4}\n"
    assert wait_until(lambda: desk.run(["node", file, at, name], timeout=20).stdout == wanted, 10)


def test_haproxy_uses_a_service_beyond_ascii(bed: Bed) -> None:
    desk = bed.host("desk")
    with desk.start(["haproxy", "-db", "-f", placed(desk, "cafe.cfg", HAPROXY)]):
        assert wait_until(lambda: fetch(desk, "http://127.0.0.1:8000/") == "alpha:8080", 20)


@pytest.mark.parametrize(
    ("question", "ends"),
    [
        ("app.example A", "{alpha}"),
        ("app.example AAAA", "web.minidisc."),
        ("app.example SRV", "10 10 8081 alpha-8081.web.minidisc."),
    ],
)
def test_an_alias_that_a_real_server_knows_leads_into_the_network(bed: Bed, question: str, ends: str) -> None:
    name, rtype = question.split()
    said = bed.host("desk").run(["dig", "+short", rtype, name]).stdout.splitlines()
    assert said[0] == "web.minidisc."
    assert said[-1] == ends.format(alpha=bed.host("alpha").ipv4)


def test_unbound_behind_the_forwarder_follows_the_alias_too(bed: Bed) -> None:
    desk = bed.host("desk")
    conf = placed(desk, "unbound.conf", UNBOUND)
    with desk.start(["unbound", "-d", "-c", conf]):
        argv = ["dig", "+short", "+tries=1", "app.example", "@127.0.0.1", "-p", "5300"]
        assert wait_until(lambda: bed.host("alpha").ipv4 in desk.run(argv).stdout, 15)


@pytest.mark.parametrize(
    ("question", "said"),
    [("localhost A", "127.0.0.1\n"), ("foo.localhost A", "127.0.0.1\n"), ("x.onion A", ""), ("x.invalid A", "")],
)
def test_an_upstream_is_not_believed_about_names_of_special_use(bed: Bed, question: str, said: str) -> None:
    name, rtype = question.split()
    assert bed.host("desk").run(["dig", "+short", rtype, name]).stdout == said
