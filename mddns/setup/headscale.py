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
    first = f"sudo {forwarder(to)[0]}" if plain else f"md advertise my-services.yaml{to.domain_option}"
    how = (
        "Port 53 wants root or CAP_NET_BIND_SERVICE; without a port, 'md setup headscale' asks by HTTP at a port that "
        "does not."
        if plain
        else "Any node that offers something answers, at the port that it has anyway and without root: DNS over HTTP "
        "(RFC 8484), inside WireGuard."
    )
    return Recipe(
        "headscale",
        (File("/etc/headscale/config.yaml", body),),
        (first,),
        ("sudo systemctl restart headscale",),
        (
            how,
            "Put it into the 'dns' that the file has; a second one is an error.",
            "Name two or three nodes, a line each: clients ask all of them and take the first reply, and each answers "
            "for the whole network.",
            f"The policy has to let clients reach the nodes at {'UDP and TCP 53' if plain else f'TCP {to.port}'}.",
            "headscale takes addresses and URLs; an address with a port, as in 100.64.0.1:5353, it leaves out with a "
            "warning in its log, and then clients hear that there is no such name.",
            "Clients take part with 'tailscale set --accept-dns'.",
        ),
    )
