"""NetworkManager that runs its own dnsmasq."""

from __future__ import annotations

from .dnsmasq import lines
from .recipe import File, Recipe, Target, forwarder


def recipe(to: Target) -> Recipe:
    """The recipe that makes NetworkManager's dnsmasq send names under the apex to the forwarder."""
    return Recipe(
        "networkmanager",
        (
            File("/etc/NetworkManager/conf.d/mddns.conf", "[main]\ndns=dnsmasq"),
            File("/etc/NetworkManager/dnsmasq.d/mddns.conf", lines(to)),
        ),
        forwarder(to),
        ("sudo systemctl reload NetworkManager",),
        (
            "If NetworkManager uses systemd-resolved ('resolvectl status' works), do not change that, and use "
            "'md setup resolved' instead.",
            "Install dnsmasq as a program, not as a service: Debian's package is dnsmasq-base.",
            "NetworkManager's dnsmasq binds 127.0.0.1:53, so md forward needs another port, as above.",
        ),
    )
