"""Who is answered over HTTP, and by which handler."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Final

from ..responder.counters import Counts
from .cross_site import Names, why_not
from .messages import Handler, Head, Request, Response, Web

_MOST_FIELDS: Final = 100  # of a query string
_LOOPBACK: Final = ("127.", "::1")

Routes = Mapping[tuple[str, str], Handler]  # handlers by method and path, as ("GET", "/ping")


def is_loopback(address: str) -> bool:
    """Whether it is a loopback address: who asks from there is on this machine, or comes through its daemon."""
    return address.startswith(_LOOPBACK)


def plain(status: int, text: str) -> Response:
    """A response for people: one line."""
    return Response(status, f"{text}\n".encode(), "text/plain; charset=utf-8")


class Site:
    """Serves `web` to programs of this machine and of the network's nodes; everybody else, and web pages, get 403.

    Programs of this machine that come from loopback are let in as well. In userspace networking everybody
    does, and nobody gets merged answers there, as over DNS.
    """

    def __init__(self, merged: Routes, others: Routes, counts: Counts) -> None:
        """`merged` are handlers whose answers tell of the whole network, `others` those that tell of this host."""
        self._web = Web({**{place: self._members_only(each) for place, each in merged.items()}, **others})
        self._counts = counts
        self._own: frozenset[str] = frozenset()
        self._may_ask: frozenset[str] = frozenset()
        self._names = Names((), ())

    def moved(self, own: frozenset[str], may_ask: frozenset[str], names: Names) -> None:
        """From now on these are this machine's addresses, those that get merged answers, and its names."""
        self._own, self._may_ask, self._names = own, may_ask, names

    def look(self, head: Head) -> Response | None:
        """A refusal, for which the head is enough."""
        hosts = [head.headers["host"]] if "host" in head.headers else []
        authority = _authority(head.target)
        if authority is not None:
            hosts.append(authority)
        reason = why_not(head.headers, hosts, self._names)
        if reason is None and not (head.address in self._may_ask or is_loopback(head.address)):
            reason = "answers are for this network's nodes"
        if reason is None:
            return None
        self._counts.refused += 1
        return plain(403, reason)

    def answer(self, head: Head, body: bytes) -> Response | Awaitable[Response]:
        """What the handler of this path says."""
        from urllib.parse import parse_qs, unquote, urlsplit  # slow to load, and for HTTP alone

        try:
            address = urlsplit(head.target) if _authority(head.target) is not None else None
            path, _, query = head.target.partition("?")
            if address is not None:
                path, query = address.path or "/", address.query
            fields = parse_qs(query, keep_blank_values=True, max_num_fields=_MOST_FIELDS)
        except ValueError as error:
            return plain(400, f"the request's target cannot be read: {error}")
        own = head.address in self._own or is_loopback(head.address)
        several = {name: tuple(values) for name, values in fields.items()}
        path = unquote(path, errors="replace")
        return self._web.handle(Request(head.method, path, several, head.headers, body, head.address, head.port, own))

    def responded(self, status: int) -> None:
        """A response was sent."""
        self._counts.responded(status)

    def _members_only(self, handler: Handler) -> Handler:
        def handle(request: Request) -> Response | Awaitable[Response]:
            if request.address in self._may_ask:
                return handler(request)
            self._counts.refused += 1
            return plain(403, "merged answers are for this network's nodes")

        return handle


def _authority(target: str) -> str | None:
    """The host and port that an absolute-form target names (RFC 9112 3.2.2); None for other targets."""
    scheme, mark, rest = target.partition("://")
    if not mark or scheme.lower() not in ("http", "https"):
        return None
    for end in "/?#":
        rest = rest.partition(end)[0]
    return rest.rpartition("@")[2]
