"""Types for HTTP requests and responses, and the table of handlers by path.

This module uses neither sockets nor the octets of HTTP. Handlers decide what to answer; each is in the module
of its subject. :mod:`mddns.http.connection` reads the requests.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple, Protocol


class Head(NamedTuple):
    """A request without its body. Header names are in lower case; `target` is as the client sent it."""

    method: str
    target: str
    headers: Mapping[str, str]
    address: str  # of the client
    port: int


class Serving(Protocol):
    """Answers the requests that a connection reads."""

    def look(self, head: Head) -> Response | None:
        """Returns a refusal if the head alone is reason enough, before the body is read; else None."""

    def answer(self, head: Head, body: bytes) -> Response | Awaitable[Response]:
        """Returns the response to a complete request."""

    def responded(self, status: int) -> None:
        """Is called when a response was sent."""


class Request(NamedTuple):
    """One complete request. Header names are in lower case; `path` is decoded, without query."""

    method: str
    path: str
    query: Mapping[str, tuple[str, ...]]
    headers: Mapping[str, str]
    body: bytes
    address: str  # of the client
    port: int
    own: bool  # whether `address` is one of this host's own addresses


class Response(NamedTuple):
    """A response. `content_type` is empty if there is no body."""

    status: int
    body: bytes = b""
    content_type: str = ""
    headers: tuple[tuple[str, str], ...] = ()


Handler = Callable[[Request], Response | Awaitable[Response]]


class Web:
    """Calls the handler for a path and method; without one, the response is 404 or 405."""

    def __init__(self, routes: Mapping[tuple[str, str], Handler]) -> None:
        """`routes` has the handlers by (method, path), as ``("GET", "/ping")``."""
        self._routes = dict(routes)

    def handle(self, request: Request) -> Response | Awaitable[Response]:
        """Returns the response to one request."""
        method = "GET" if request.method == "HEAD" else request.method
        handler = self._routes.get((method, request.path))
        if handler is not None:
            return handler(request)
        allowed = sorted(each for each, path in self._routes if path == request.path)
        if not allowed:
            return Response(404, b"not found\n", "text/plain; charset=utf-8")
        return Response(405, b"method not allowed\n", "text/plain; charset=utf-8", (("Allow", ", ".join(allowed)),))
