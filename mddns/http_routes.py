"""What this program answers over HTTP, by path."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from .http_dns import Asking, DnsQuery
from .http_site import Site, plain
from .responder import Responder
from .web import Handler, Request, Response, Web


def open_site(responder: Responder, asking: Asking, extra: Mapping[tuple[str, str], Handler]) -> Site:
    """The site of a node. `extra` are handlers by method and path beside those that every node has."""
    dns = DnsQuery(asking)

    def members_only(handler: Handler) -> Handler:
        """Merged answers are for those who get them over DNS as well."""

        def handle(request: Request) -> Response | Awaitable[Response]:
            if responder.may_ask(request.address):
                return handler(request)
            responder.counts.refused += 1
            return plain(403, "merged answers are for this network's nodes")

        return handle

    merged: dict[tuple[str, str], Callable[[Request], Response | Awaitable[Response]]] = {
        ("GET", "/dns-query"): dns.get,
        ("POST", "/dns-query"): dns.post,
    }
    routes = {place: members_only(handler) for place, handler in merged.items()}
    return Site(Web({**routes, **extra}), responder.may_ask, responder.counts)
