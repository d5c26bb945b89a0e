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
            "Add this block to those that the Corefile has. With the reload plugin, no command is needed.",
            "In a container, 127.0.0.1 is the container itself: name an address of the host with --listen; md forward "
            "must listen there.",
            "Name one forwarder: each forwarder answers for the whole network. CoreDNS would send queries to a second "
            "server as well, even if that server does not know the domain.",
            "The cache plugin caches negative responses for at least 5 s. Without it, as here, clients find a new "
            "service at once.",
        ),
    )
