"""Decides whether an HTTP request comes from a program, or from a web page in a browser.

A page of any site can make its visitor's browser send requests to this machine, and the owner of the site can
point a name at this machine (DNS rebinding). Neither gets an answer: the request must not have the header fields
that a browser adds for a page, and its Host must be an address or one of our names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

# Fields that browsers add to requests of a page (Fetch, RFC 9110 10.1.3), but not to an address that a person typed.
_OF_PAGES: Final = ("origin", "referer")
_OF_PEOPLE: Final = frozenset(("none", "same-origin"))


class Names:
    """The names that a Host field may have: those of this machine, and all names under our apexes."""

    def __init__(self, machine: Iterable[str], apexes: Iterable[str]) -> None:
        """`machine` are names of this machine, short or full; `apexes` in presentation format."""
        self._machine = frozenset(("localhost", *(each for name in machine if (each := _plain(name)))))
        self._apexes = tuple(each for apex in apexes if (each := _plain(apex)))

    def include(self, host: str) -> bool:
        """Returns whether `host`, from a URL or a Host field, with or without port, is one of these or an address."""
        name = _without_port(host)
        if name is None:
            return False
        import ipaddress  # slow to load, and only needed for HTTP

        try:
            ipaddress.ip_address(name.partition("%")[0])
        except ValueError:
            name = _plain(name)
        else:
            return True
        return name in self._machine or any(name == apex or name.endswith(f".{apex}") for apex in self._apexes)


def why_not(headers: Mapping[str, str], hosts: Iterable[str], names: Names) -> str | None:
    """Returns why a request is refused, None if it is not. Header names in lower case.

    `hosts` are the hosts that the request names: in its Host field, in its target.
    """
    for each in _OF_PAGES:
        if each in headers:
            return f"requests from web pages ({each.title()}) are not answered"
    site = headers.get("sec-fetch-site")
    if site is not None and site.strip().lower() not in _OF_PEOPLE:
        return "requests from web pages (Sec-Fetch-Site) are not answered"
    if not all(names.include(host) for host in hosts):
        return "Host is not a name of this machine: use its address"
    return None


def _plain(name: str) -> str:
    return name.removesuffix(".").lower()


def _without_port(host: str) -> str | None:
    """Returns the host of ``host[:port]``, without the brackets of IPv6; None if it is malformed."""
    if host.startswith("["):
        name, bracket, rest = host[1:].partition("]")
        if not bracket or ":" not in name:
            return None
    else:
        name, colon, port = host.partition(":")
        rest = colon + port
    if rest and not (rest[0] == ":" and (rest[1:] == "" or (rest[1:].isascii() and rest[1:].isdecimal()))):
        return None
    return name
