"""systemd-resolved: a drop-in, or since systemd 258 a delegate, which has no effect on other names."""

from __future__ import annotations

import re
from typing import Final

from .recipe import File, Recipe, Target, forwarder

DROP_IN: Final = "/etc/systemd/resolved.conf.d/mddns.conf"
DELEGATE: Final = "/etc/systemd/dns-delegate.d/mddns.dns-delegate"
ANCHOR: Final = "/etc/dnssec-trust-anchors.d/mddns.negative"
UPLINKS: Final = "/run/systemd/resolve/resolv.conf"
RESTART: Final = ("systemctl", "try-restart", "systemd-resolved")
_DELEGATES_SINCE: Final = 258


def version(told: str) -> int | None:
    """The version in the output of ``systemctl --version``, as in ``systemd 252 (252.39-1)``; None if it has none."""
    found = re.match(r"systemd (\d{1,5})\b", told)
    return int(found[1]) if found else None


def recipe(to: Target, systemd: int | None) -> Recipe:
    """The recipe that makes systemd-resolved send names under the apex to the forwarder."""
    if systemd is not None and systemd >= _DELEGATES_SINCE:
        file = File(DELEGATE, f"[Delegate]\nDNS={to.listen}\nDomains={to.apex}")
        others: tuple[str, ...] = ()
        first = forwarder(to)
    else:
        file = File(DROP_IN, f"[Resolve]\nDNS={to.listen}\nDomains=~{to.apex}")
        first = (f"{forwarder(to)[0]} --resolv-conf {UPLINKS}",)
        others = (
            "systemd-resolved may send queries for other names to a global DNS= server, too "
            "(systemd/systemd#33579). md forward answers "
            f"these with the servers of {UPLINKS}; with /etc/resolv.conf it would query systemd-resolved again. "
            f"systemd 258 and later read {DELEGATE} instead, which avoids this.",
        )
    mind = (
        f"With DNSSEC=yes or allow-downgrade, every response is SERVFAIL, because the root zone denies that there is a "
        f"{to.apex.rpartition('.')[2]}. 'resolvectl dnssec' shows the setting. To add an exception: echo {to.apex} | "
        f"sudo tee {ANCHOR}. A domain below 'internal', such as minidisc.internal, needs none.",
        "systemd-resolved binds port 53 of 127.0.0.53 and 127.0.0.54 only, so md forward can bind 127.0.0.1:53.",
        "systemd-resolved sends no queries, not even to 127.0.0.1, while loopback is the only link that is up.",
    )
    return Recipe(
        "resolved",
        (file,),
        first,
        (f"sudo {' '.join(RESTART)}",),
        (*others, *mind),
        places=(file.where, *({DROP_IN, DELEGATE} - {file.where})),
        reload=RESTART,
    )
