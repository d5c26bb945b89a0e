"""unbound: a file in its configuration directory."""

from __future__ import annotations

from typing import Final

from .recipe import File, Recipe, Target, forwarder

PLACE: Final = "/etc/unbound/unbound.conf.d/mddns.conf"


def recipe(to: Target) -> Recipe:
    """The recipe that makes unbound send names under the apex to the forwarder."""
    body = f"""
server:
    do-not-query-localhost: no
    domain-insecure: "{to.apex}."
    private-domain: "{to.apex}."
    local-zone: "{to.apex}." transparent

forward-zone:
    name: "{to.apex}."
    forward-addr: {to.address}@{to.port}
"""
    return Recipe(
        "unbound",
        (File(PLACE, body),),
        forwarder(to),
        ("sudo unbound-checkconf", "sudo systemctl try-reload-or-restart unbound"),
        (
            "Without do-not-query-localhost: no, unbound sends no queries to 127.0.0.1 and answers SERVFAIL. It "
            "applies to all of unbound's configuration.",
            "Without domain-insecure, an unbound that validates DNSSEC rejects our unsigned answers: SERVFAIL.",
            "private-domain allows private addresses that private-address would remove (DNS rebinding).",
            "local-zone is needed for domains below one that unbound answers itself, such as home.arpa.",
            "unbound.conf must include /etc/unbound/unbound.conf.d/*.conf, as Debian's does. Fedora's includes "
            "/etc/unbound/conf.d/*.conf: put the file there.",
            "A stub-zone works, too: then use stub-addr, and remove forward-zone.",
        ),
        places=(PLACE,),
        test=("unbound-checkconf",),
        reload=("systemctl", "try-reload-or-restart", "unbound"),
        directory=False,
    )
