"""Helpers to test `md forward` on a host of a bed: its upstream name server and a client."""

from __future__ import annotations

from bed.dig import Reply, _parse, need
from bed.hosts import Host
from bed.process import Process

HERE = "127.0.0.1"


def nameserver(
    host: Host, *lines: str, port: int = 53, address: str | None = None, interface: str | None = None
) -> Process:
    """Starts a dnsmasq that serves only these records; at all addresses of `interface`, if given."""
    need("dnsmasq")
    address = address or host.ipv4
    conf = host.directory / f"dnsmasq-{address}-{port}"
    records = lines or ("host-record=www.example,192.0.2.1,60",)
    where = f"interface={interface}" if interface else f"listen-address={address}"
    conf.write_text(
        f"port={port}\n{where}\nbind-interfaces\nno-resolv\nno-hosts\nno-poll\npid-file=\nuser=root\n"
        "local=/example/\nauth-ttl=60\n" + "\n".join(records) + "\n"
    )
    process = host.start(["dnsmasq", "--keep-in-foreground", "--log-facility=-", f"--conf-file={conf}"])
    process.wait_for("started")
    return process


def forward(host: Host, *argv: str) -> Process:
    process = host.start(["md", "forward", *argv])
    process.wait_for("Ctrl-C ends it")
    return process


def ask(host: Host, name: str, rtype: str = "A", *options: str, at: str = HERE, port: int = 53) -> Reply:
    need("dig")
    argv = ["dig", f"@{at}", "-p", str(port), "+tries=1", "+time=5", *options, "-t", rtype, "-q", name]
    done = host.run(argv, timeout=15)
    return _parse(done.stdout + done.stderr)
