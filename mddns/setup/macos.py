"""macOS: one file for each domain in /etc/resolver (resolver(5))."""

from __future__ import annotations

from .recipe import File, Recipe, Target, forwarder


def recipe(to: Target) -> Recipe:
    """The recipe that makes macOS send names under the apex to the forwarder."""
    place = f"/etc/resolver/{to.apex}"
    return Recipe(
        "macos",
        (File(place, f"nameserver {to.address}\nport {to.port}"),),
        forwarder(to),
        ("sudo killall -HUP mDNSResponder",),
        (
            "The file's name is the domain: another --domain needs another file.",
            "dig, host and nslookup do not read /etc/resolver. 'scutil --dns' shows it, and 'dscacheutil -q host -a "
            f"name ns.{to.apex}' and ping use it.",
            "The only loopback address of macOS is 127.0.0.1. To add another: 'sudo ifconfig lo0 alias 127.0.0.2'.",
        ),
        places=(place,),
        reload=("killall", "-HUP", "mDNSResponder"),
    )
