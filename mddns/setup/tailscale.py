"""Tailscale's own split DNS: an admin of the tailnet sets it for all devices."""

from __future__ import annotations

import json
from typing import Final

from ..base.errors import ConfigError
from .recipe import File, Recipe, Target, forwarder

_DNS: Final = 53


def recipe(to: Target) -> Recipe:
    """The recipe that makes all devices of a tailnet ask a node for names under the apex.

    ConfigError if the port is not 53.
    """
    if to.port != _DNS:
        raise ConfigError(
            f"listen {to.listen!r}: Tailscale's split DNS uses port 53 only: name an address alone, as in {to.address}"
        )
    asked = json.dumps({to.apex: [to.address]})
    body = f"""
# In the admin console, https://login.tailscale.com/admin/dns: Add nameserver > Custom
#   Nameserver: {to.address}    Restrict to domain: {to.apex}
# or by the API, from a shell that has a key in TS_API_KEY:
curl --fail -X PATCH https://api.tailscale.com/api/v2/tailnet/-/dns/split-dns \\
    -u "$TS_API_KEY:" -H 'Content-Type: application/json' --data '{asked}'
"""
    return Recipe(
        "tailscale",
        (File("DNS of the tailnet", body),),
        (f"sudo {forwarder(to)[0]}",),
        (),
        (
            f"md forward must run on the node that has {to.address}. There it answers names under {to.apex}, and "
            "refuses all other names.",
            "The nameserver's port is always 53, which needs root, CAP_NET_BIND_SERVICE or systemd socket activation. "
            "md forward cannot bind it beside a DNS server that has port 53 of all addresses, as dnsmasq often does.",
            "Clients use the first response of several nameservers, so name only forwarders of this network: each "
            "answers for all of it.",
            "If the console does not accept a domain of one label, use --domain minidisc.internal, on all nodes.",
            "'Use with exit node' keeps it working on devices that use an exit node.",
            "The policy must allow the devices to reach UDP and TCP 53 of that node.",
            "With userspace networking there is no split DNS.",
        ),
    )
