"""dnsmasq: a file in its configuration directory."""

from __future__ import annotations

from typing import Final

from .recipe import File, Recipe, Target, forwarder

PLACE: Final = "/etc/dnsmasq.d/mddns.conf"


def lines(to: Target) -> str:
    """The configuration lines for dnsmasq; networkmanager.py uses them too."""
    # The second line has an effect only with stop-dns-rebind.
    return f"server=/{to.apex}/{to.address}#{to.port}\nrebind-domain-ok=/{to.apex}/"


def recipe(to: Target) -> Recipe:
    """The recipe that makes dnsmasq send names under the apex to the forwarder."""
    return Recipe(
        "dnsmasq",
        (File(PLACE, lines(to)),),
        forwarder(to),
        ("sudo systemctl try-restart dnsmasq",),
        (
            "SIGHUP and 'systemctl reload' do not read this file: dnsmasq has to be restarted.",
            "Where /etc/dnsmasq.d is not read, say conf-dir=/etc/dnsmasq.d/,*.conf in /etc/dnsmasq.conf.",
            "With stop-dns-rebind, services at 127.0.0.1 or at private addresses would be held back; the second line "
            "lets them through.",
            "filterwin2k takes away all SRV records: leave it out.",
            "dnsmasq has port 53 of all addresses unless it is told bind-interfaces: md forward listens at another.",
        ),
        places=(PLACE,),
        test=("dnsmasq", "--test"),
        reload=("systemctl", "try-restart", "dnsmasq"),
        directory=False,
    )
