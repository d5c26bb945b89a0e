"""Caches answers by the octets of their queries, so that the loop that reads a socket need not call the responder.

A repeated query costs two look-ups there: the client's address and the query. This cache only has answers that
the responder gave, only for clients that would get the same answer, and only until the answer may change.
Everything is bounded, and a full cache is emptied: a flood of different names cannot make it grow.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from .counters import Tally

_MOST_CLIENTS: Final = 10_000
COOKIE_OCTETS: Final = 8  # of a client cookie (RFC 7873 4)

_COOKIE: Final = b"\0\x0a\0\x08"  # the head of a COOKIE option with a client cookie alone (RFC 7873 4)

# An answer without its message ID, and its counters.
Ready = tuple[bytes, Tally]

# Two dictionaries of answers. The key of the first is the query's octets after the message ID. The key of the second
# also lacks the client cookie at the end, because dig sends a new cookie with each query. A key of the second
# ends with the head of the cookie option, so only a query with a whole client cookie can be cut to such a key.
Kept = tuple[dict[bytes, Ready], dict[bytes, Ready]]


def is_client_cookie(options: bytes) -> bool:
    """Whether these EDNS options are one client cookie and nothing else."""
    return len(options) == len(_COOKIE) + COOKIE_OCTETS and options.startswith(_COOKIE)


class Hot:
    """Caches answers for each kind of client. They are valid in one `epoch`, and until the first of them expires."""

    __slots__ = ("_clients", "_entries", "_epoch", "_kinds", "_most", "_octets", "_room", "_until")

    def __init__(self, most: int, octets: int) -> None:
        """Limits the cache to `most` answers, and to `octets` for answers and queries together."""
        self._clients: dict[str, Kept] = {}
        self._kinds: dict[object, Kept] = {}
        self._most = most
        self._octets = octets
        self._epoch: object = None
        self._entries = 0
        self._room = octets
        self._until = math.inf

    def at(self, epoch: object, now: float) -> Mapping[str, Kept]:
        """Returns the answers that are valid in `epoch` at `now`, by the client's address."""
        if now >= self._until or epoch != self._epoch:
            self._epoch = epoch
            self._start_over()
        return self._clients

    def admit(self, address: str, kind: object) -> None:
        """Lets the client at `address` get the cached answers for its `kind` of client."""
        if len(self._clients) >= _MOST_CLIENTS:
            self._clients.clear()
        self._clients[address] = self._kinds.setdefault(kind, ({}, {}))

    def put(self, kind: object, wire: bytes, cookie: bool, answer: bytes, tally: Tally, until: float) -> None:
        """Caches the `answer` to the query `wire` for a `kind` of client; it expires at `until`.

        `tally` counts how often it is used; `cookie`: the query ends with a client cookie.
        """
        size = len(wire) + len(answer)
        if size > self._octets // 4:
            return
        if self._entries >= self._most or size > self._room:
            self._start_over()
        plain, cookies = self._kinds.setdefault(kind, ({}, {}))
        if cookie:
            cookies[wire[2:-COOKIE_OCTETS]] = answer[2:], tally
        else:
            plain[wire[2:]] = answer[2:], tally
        self._entries += 1
        self._room -= size
        self._until = min(self._until, until)

    def forget_clients(self) -> None:
        """Removes all clients: each must be admitted again before it gets cached answers."""
        self._clients.clear()

    def clear(self) -> None:
        """Removes all answers and all clients."""
        self._clients.clear()
        self._start_over()

    def _start_over(self) -> None:
        for plain, cookies in self._kinds.values():
            plain.clear()
            cookies.clear()
        self._entries, self._room, self._until = 0, self._octets, math.inf
