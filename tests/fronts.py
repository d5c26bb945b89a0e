"""Other resolvers that forward to `md forward`, each with its usual configuration and its own address at port 53.

Their surroundings: web pages on alpha and bravo, and on bravo a service with 60 instances and a server of other names.
"""

from __future__ import annotations

import json
from typing import Final, Protocol

from bed.dig import need
from bed.host import Host
from bed.hosts import Bed
from bed.process import Process
from real_clients import configuration, placed, serve_page

# The trust anchor of the root. A bed cannot validate names below it, so names without an exception get SERVFAIL.
KEY = "20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D"
MANY: Final = 60  # instances of `many`: more than fit into a UDP response
OTHER_NAME: Final = "www.example.org"
OTHER_ADDRESS: Final = "198.18.0.80"
BOTH: Final = {f"10 10 8080 {name}-8080.web.minidisc." for name in ("alpha", "bravo")}


def surroundings(bed: Bed) -> None:
    """Starts the services that the resolvers find."""
    bravo = bed.host("bravo")
    other_names(bravo)
    for name in ("alpha", "bravo"):
        serve_page(bed.host(name))
    many = bravo.directory / "many.yaml"
    many.write_text(json.dumps({"services": [{"name": "many", "address": f":{9000 + n}"} for n in range(MANY)]}))
    bravo.start(["md", "advertise", str(many)]).wait_for("advertised", timeout=15)


def other_names(host: Host) -> Process:
    """Starts a server of a name outside of our domain, at the host's own address."""
    need("dnsmasq")
    options = ["--no-resolv", "--no-hosts", "--pid-file", "--user=root", "--bind-interfaces"]
    options += [f"--listen-address={host.ipv4}", f"--host-record={OTHER_NAME},{OTHER_ADDRESS}"]
    return host.start(["dnsmasq", "--keep-in-foreground", *options])


class Start(Protocol):
    """Starts a resolver at an address. Other names come from `upstream`; `ours` replaces the file of docs/clients."""

    def __call__(self, host: Host, address: str, upstream: str, ours: str | None = None) -> Process: ...


def dnsmasq(host: Host, address: str, upstream: str, ours: str | None = None) -> Process:
    """A dnsmasq with rebind protection: names of the Internet must not point into the local network."""
    need("dnsmasq")
    file = placed(host, f"dnsmasq-{address}.conf", configuration("dnsmasq.conf") if ours is None else ours)
    options = [f"--listen-address={address}", "--bind-interfaces", "--stop-dns-rebind", "--pid-file", "--user=root"]
    options += ["--no-resolv", "--no-hosts", f"--server={upstream}", f"--conf-file={file}"]
    return host.start(["dnsmasq", "--keep-in-foreground", *options])


def unbound_forward(host: Host, address: str, upstream: str, ours: str | None = None) -> Process:
    """An Unbound with a forward-zone, DNSSEC validation, and queries in random case."""
    return _unbound(host, address, upstream, configuration("unbound-forward.conf") if ours is None else ours)


def unbound_stub(host: Host, address: str, upstream: str, ours: str | None = None) -> Process:
    """An Unbound with a stub-zone, DNSSEC validation, and queries in random case."""
    return _unbound(host, address, upstream, configuration("unbound-stub.conf") if ours is None else ours)


def _unbound(host: Host, address: str, upstream: str, ours: str) -> Process:
    need("unbound")
    included = placed(host, f"unbound-mddns-{address}.conf", ours)
    text = f"""
server:
    interface: {address}
    username: ""
    chroot: ""
    pidfile: ""
    use-syslog: no
    directory: "{host.directory}"
    private-address: 10.0.0.0/8
    use-caps-for-id: yes
    trust-anchor: ". DS {KEY}"
    domain-insecure: "example.org."
remote-control:
    control-enable: no
forward-zone:
    name: "."
    forward-addr: {upstream}
include: "{included}"
"""
    return host.start(["unbound", "-d", "-c", placed(host, f"unbound-{address}.conf", text)])


def pdns_recursor(host: Host, address: str, upstream: str, ours: str | None = None) -> Process:
    """A PowerDNS Recursor with DNSSEC validation; `ours` is the text of its .lua file."""
    need("pdns_recursor")
    root = host.directory / f"pdns-{address}"
    (root / "recursor.d").mkdir(parents=True)
    (root / "recursor.d" / "mddns.conf").write_text(configuration("pdns-recursor.conf"))
    exceptions = configuration("pdns-recursor.lua") if ours is None else ours
    (root / "recursor.lua").write_text(f'addTA(".", "{KEY}")\naddNTA("example.org")\n{exceptions}')
    (root / "recursor.conf").write_text(
        f"""
include-dir={root}/recursor.d
local-address={address}
lua-config-file={root}/recursor.lua
forward-zones-recurse=.={upstream}
dnssec=validate
security-poll-suffix=
socket-dir={root}
quiet=yes
"""
    )
    return host.start(["pdns_recursor", f"--config-dir={root}", "--daemon=no", "--disable-syslog"])


def kresd(host: Host, address: str, upstream: str, ours: str | None = None) -> Process:
    """A Knot Resolver with its defaults: DNSSEC validation, and queries in random case."""
    need("kresd")
    root = host.directory / f"kresd-{address}"
    root.mkdir()
    text = f"""
net.listen('{address}', 53, {{ kind = 'dns' }})
cache.size = 10 * MB
trust_anchors.set_insecure({{'example.org'}})
{configuration("kresd.conf") if ours is None else ours}
policy.add(policy.all(policy.FORWARD('{upstream}')))
"""
    return host.start(["kresd", "-n", "-c", placed(host, f"kresd-{address}.conf", text), str(root)])


FRONTS: Final[dict[str, tuple[str, Start]]] = {
    "dnsmasq": ("127.0.0.11", dnsmasq),
    "unbound forward-zone": ("127.0.0.12", unbound_forward),
    "unbound stub-zone": ("127.0.0.13", unbound_stub),
    "pdns-recursor": ("127.0.0.14", pdns_recursor),
    "knot-resolver": ("127.0.0.15", kresd),
}
