"""HTTP as values: a request in, a response out, and the table of what is answered at which path.

It knows neither sockets nor HTTP's octets. What is answered is decided by handlers, each of which stands
with what it is about; how requests arrive is the business of whoever reads them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple, Protocol


class Head(NamedTuple):
    """A request of which the body may still be to come. Header names are in lower case; `target` is as it came."""

    method: str
    target: str
    headers: Mapping[str, str]
    address: str  # who asks
    port: int


class Serving(Protocol):
    """What a connection asks about the requests that it reads."""

    def look(self, head: Head) -> Response | None:
        """Whether to refuse a request by its head alone, before its body is read."""

    def answer(self, head: Head, body: bytes) -> Response | Awaitable[Response]:
        """The response to a whole request."""

    def responded(self, status: int) -> None:
        """A response was sent."""


class Request(NamedTuple):
    """One whole request. Header names are in lower case; `path` is decoded, without query."""

    method: str
    path: str
    query: Mapping[str, tuple[str, ...]]
    headers: Mapping[str, str]
    body: bytes
    address: str  # who asks
    port: int
    own: bool  # whether that is one of this host's own addresses


class Response(NamedTuple):
    """What is answered: `content_type` is left out where there is no body to speak of."""

    status: int
    body: bytes = b""
    content_type: str = ""
    headers: tuple[tuple[str, str], ...] = ()


Handler = Callable[[Request], Response | Awaitable[Response]]


class Web:
    """Handlers by path and method; else 404 or 405."""

    def __init__(self, routes: Mapping[tuple[str, str], Handler]) -> None:
        """`routes` are handlers by (method, path), as ``("GET", "/ping")``."""
        self._routes = dict(routes)

    def handle(self, request: Request) -> Response | Awaitable[Response]:
        """The response to one request."""
        method = "GET" if request.method == "HEAD" else request.method
        handler = self._routes.get((method, request.path))
        if handler is not None:
            return handler(request)
        allowed = sorted(each for each, path in self._routes if path == request.path)
        if not allowed:
            return Response(404, b"not found\n", "text/plain; charset=utf-8")
        return Response(405, b"method not allowed\n", "text/plain; charset=utf-8", (("Allow", ", ".join(allowed)),))
