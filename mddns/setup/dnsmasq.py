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
            "SIGHUP and 'systemctl reload' do not read this file: restart dnsmasq.",
            "If dnsmasq does not read /etc/dnsmasq.d, write conf-dir=/etc/dnsmasq.d/,*.conf into /etc/dnsmasq.conf.",
            "With stop-dns-rebind, dnsmasq removes 127.0.0.1 and private addresses from responses; the second line "
            "exempts this domain.",
            "filterwin2k removes all SRV records: do not use it.",
            "dnsmasq binds port 53 of all addresses unless bind-interfaces is set, so md forward uses another.",
        ),
        places=(PLACE,),
        test=("dnsmasq", "--test"),
        reload=("systemctl", "try-restart", "dnsmasq"),
        directory=False,
    )
