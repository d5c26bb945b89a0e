"""headscale: split DNS for all clients, by DNS over HTTP at the nodes' own port."""

from __future__ import annotations

from typing import Final

from .recipe import File, Recipe, Target, forwarder

_DNS: Final = 53


def recipe(to: Target) -> Recipe:
    """The recipe that makes headscale's clients ask a node for names under the apex."""
    plain = to.port == _DNS
    server = f'"{to.address}"' if plain else f"http://{to.url_host}:{to.port}/dns-query"
    body = f"""
dns:
  nameservers:
    split:
      {to.apex}:
        - {server}
"""
    first = f"sudo {forwarder(to)[0]}" if plain else f"md advertise my-services.yaml{to.options}"
    how = (
        "Port 53 needs root or CAP_NET_BIND_SERVICE. Without a port, 'md setup headscale' uses DNS over HTTP, at a "
        "port that needs neither."
        if plain
        else "Each node that offers a service answers, without root, at the port that it uses anyway: DNS over HTTP "
        "(RFC 8484), inside WireGuard."
    )
    return Recipe(
        "headscale",
        (File("/etc/headscale/config.yaml", body),),
        (first,),
        ("sudo systemctl restart headscale",),
        (
            how,
            "If the file has a 'dns' key, add this to it; a second 'dns' key is an error.",
            "Name two or three nodes, one a line: clients query all of them and use the first response. Each node "
            "answers for the whole network.",
            f"The policy must allow clients to reach the nodes at {'UDP and TCP 53' if plain else f'TCP {to.port}'}.",
            "headscale accepts addresses and URLs. It ignores an address with a port, as in 100.64.0.1:5353, with a "
            "warning in its log; clients then get NXDOMAIN.",
            "Clients use this after 'tailscale set --accept-dns'.",
        ),
    )
