"""Prints the page of each instance of a service every half second: ``python dnspython_client.py web.minidisc``."""

import contextlib
import sys
import time
import urllib.request
from collections.abc import Iterator

import dns.resolver

resolver = dns.resolver.Resolver(configure=False)
resolver.nameservers = ["127.0.0.1"]  # the default is the server in /etc/resolv.conf
resolver.port = 53


def pages(service: str) -> Iterator[str]:
    """Yields the page of each instance, best priority first."""
    for srv in sorted(answers(service, "SRV"), key=lambda srv: srv.priority):
        for a in answers(srv.target, "A"):
            with contextlib.suppress(OSError):  # the instance has just ended
                yield urllib.request.urlopen(f"http://{a.address}:{srv.port}/", timeout=3).read().decode().strip()


def answers(name: dns.name.Name | str, rtype: str) -> list[dns.rdata.Rdata]:
    """The records of a type; empty if the name does not exist."""
    try:
        return list(resolver.resolve(name, rtype))
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return []


if __name__ == "__main__":
    while True:
        print(*pages(sys.argv[1]), flush=True)
        time.sleep(0.5)
