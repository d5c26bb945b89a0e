"""CoreDNS: a server block for its Corefile."""

from __future__ import annotations

from .recipe import File, Recipe, Target, forwarder


def block(to: Target) -> str:
    """The server block."""
    return f"{to.apex} {{\n    errors\n    forward . {to.listen}\n}}"


def recipe(to: Target) -> Recipe:
    """The recipe that makes CoreDNS send names under the apex to the forwarder."""
    return Recipe(
        "coredns",
        (File("/etc/coredns/Corefile", block(to)),),
        forwarder(to),
        ("sudo systemctl reload coredns",),
        (
            "It stands beside the blocks that the Corefile has; with the reload plugin nothing needs to be run.",
            "In a container 127.0.0.1 is the container: --listen names an address of the host, and md forward "
            "listens there.",
            "Name one forwarder: any of them answers for the whole network. A second server that does not know the "
            "domain would be asked in turn.",
            "The cache plugin keeps what is not there for 5 s at least; without it, as here, a new service counts at "
            "once.",
        ),
    )
