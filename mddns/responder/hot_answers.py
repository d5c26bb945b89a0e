"""Answers by the octets of their questions: what the loop that reads a socket finds without calling anybody.

A question asked again costs two look-ups there: who asks, and what. An answer is kept here only when the
responder gave it, for those alone whom it would give it to, and until it might be another. Everything is
bounded, and when it is full it starts over: a flood of different names makes nothing grow.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from .counters import Tally

_MOST_CLIENTS: Final = 10_000
COOKIE_OCTETS: Final = 8  # of a client cookie (RFC 7873 4)

_COOKIE: Final = b"\0\x0a\0\x08"  # the head of a COOKIE option with a client cookie alone (RFC 7873 4)

# An answer without its id, and the number that it counts in.
Ready = tuple[bytes, Tally]

# Answers by the question's octets behind the id, and by the same without the client cookie at
# their end, which is another with each question of dig. A key of the second kind ends with the cookie option's
# head, so nothing but such a question, cookie and all, is cut to one.
Kept = tuple[dict[bytes, Ready], dict[bytes, Ready]]


def is_client_cookie(options: bytes) -> bool:
    """Whether that is all there is of EDNS options."""
    return len(options) == len(_COOKIE) + COOKIE_OCTETS and options.startswith(_COOKIE)


class Hot:
    """Answers that hold for one `epoch`, and until a moment; for each kind of client its own."""

    __slots__ = ("_clients", "_entries", "_epoch", "_kinds", "_most", "_octets", "_room", "_until")

    def __init__(self, most: int, octets: int) -> None:
        """At most `most` answers, which are `octets` together with their questions."""
        self._clients: dict[str, Kept] = {}
        self._kinds: dict[object, Kept] = {}
        self._most = most
        self._octets = octets
        self._epoch: object = None
        self._entries = 0
        self._room = octets
        self._until = math.inf

    def at(self, epoch: object, now: float) -> Mapping[str, Kept]:
        """What holds in `epoch` at `now`, by the client's address."""
        if now >= self._until or epoch != self._epoch:
            self._epoch = epoch
            self._start_over()
        return self._clients

    def admit(self, address: str, kind: object) -> None:
        """From now on questions from `address` are answered from here, if they are known for its `kind` of client."""
        if len(self._clients) >= _MOST_CLIENTS:
            self._clients.clear()
        self._clients[address] = self._kinds.setdefault(kind, ({}, {}))

    def put(self, kind: object, wire: bytes, cookie: bool, answer: bytes, tally: Tally, until: float) -> None:
        """Keeps the `answer` to `wire`, which counts in `tally`, for a `kind` of client.

        `cookie`: the question ends with a client cookie.
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
        """Everybody is to be looked at again before anything is answered from here."""
        self._clients.clear()

    def clear(self) -> None:
        """Keeps nothing, for nobody."""
        self._clients.clear()
        self._start_over()

    def _start_over(self) -> None:
        for plain, cookies in self._kinds.values():
            plain.clear()
            cookies.clear()
        self._entries, self._room, self._until = 0, self._octets, math.inf
