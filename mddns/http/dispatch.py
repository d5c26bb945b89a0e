"""Decides which clients get an answer over HTTP, and which handler answers."""

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
    """Whether it is a loopback address: the client runs on this machine, or comes through the network's daemon."""
    return address.startswith(_LOOPBACK)


def plain(status: int, text: str) -> Response:
    """Makes a response with one line of plain text."""
    return Response(status, f"{text}\n".encode(), "text/plain; charset=utf-8")


class Site:
    """Serves programs of this machine and of the network's nodes; all other clients, and web pages, get 403.

    Clients from loopback addresses are served too. In userspace networking all clients come from loopback. They
    get no merged answers there, as over DNS.
    """

    def __init__(self, merged: Routes, others: Routes, counts: Counts) -> None:
        """`merged` are the handlers that answer for the whole network, `others` those that answer for this host."""
        self._web = Web({**{place: self._members_only(each) for place, each in merged.items()}, **others})
        self._counts = counts
        self._own: frozenset[str] = frozenset()
        self._may_ask: frozenset[str] = frozenset()
        self._names = Names((), ())

    def moved(self, own: frozenset[str], may_ask: frozenset[str], names: Names) -> None:
        """Sets the addresses of this machine, the addresses that get merged answers, and the names of this machine."""
        self._own, self._may_ask, self._names = own, may_ask, names

    def look(self, head: Head) -> Response | None:
        """Returns a refusal if the head alone is reason enough, else None."""
        hosts = [head.headers["host"]] if "host" in head.headers else []
        authority = _authority(head.target)
        if authority is not None:
            hosts.append(authority)
        reason = why_not(head.headers, hosts, self._names)
        if reason is None and not (head.address in self._may_ask or is_loopback(head.address)):
            reason = "only nodes of this network get answers"
        if reason is None:
            return None
        self._counts.refused += 1
        return plain(403, reason)

    def answer(self, head: Head, body: bytes) -> Response | Awaitable[Response]:
        """Returns the response of the handler for this path."""
        from urllib.parse import parse_qs, unquote, urlsplit  # slow to load, and only needed for HTTP

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
        """Counts a response that was sent."""
        self._counts.responded(status)

    def _members_only(self, handler: Handler) -> Handler:
        def handle(request: Request) -> Response | Awaitable[Response]:
            if request.address in self._may_ask:
                return handler(request)
            self._counts.refused += 1
            return plain(403, "only nodes of this network get merged answers")

        return handle


def _authority(target: str) -> str | None:
    """Returns the host and port of an absolute-form target (RFC 9112 3.2.2); None for other targets."""
    scheme, mark, rest = target.partition("://")
    if not mark or scheme.lower() not in ("http", "https"):
        return None
    for end in "/?#":
        rest = rest.partition(end)[0]
    return rest.rpartition("@")[2]
