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
            f"listen {to.listen!r}: Tailscale's split DNS asks port 53 alone: name an address, as in {to.address}"
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
            f"md forward has to run on the node that has {to.address}; it answers names under {to.apex} there, and "
            "refuses all others.",
            "The nameserver's port cannot be set, it is 53: root, CAP_NET_BIND_SERVICE or systemd's socket activation. "
            "A DNS server that has port 53 of all addresses, as dnsmasq often does, is in the way.",
            "Clients take the first reply of several nameservers, so name forwarders of this network alone: each "
            "answers for all of it.",
            "Should the console not take a domain of one label, use --domain minidisc.internal, on all nodes.",
            "'Use with exit node' keeps it working on devices that go by an exit node.",
            "The policy has to let the devices reach UDP and TCP 53 of that node.",
            "In userspace networking there is no split DNS.",
        ),
    )
