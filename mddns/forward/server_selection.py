"""Chooses the next upstream name server: servers that answer first, silent ones last. No sockets, no clock.

A server that did not answer is used last, for a pause that grows. It is then retried in parallel with another server,
so that no client waits for the result.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from ..files.resolv_conf import Place

TIMEOUT: Final = 2.0  # seconds for a round through all servers; default
ATTEMPTS: Final = 2  # rounds
LINGER: Final = 1.0  # seconds after which a server without a response counts as silent
FIRST_PAUSE: Final = 1.0  # seconds for which a silent server is used last; doubles up to LONGEST_PAUSE
LONGEST_PAUSE: Final = 60.0
LOOP_PAUSE: Final = 60.0  # seconds for which a server that forwards to us is not used
MOST_ASKED: Final = 4  # maximum servers per query


class Options(NamedTuple):
    """The options of queries; see resolv.conf(5)."""

    timeout: float = TIMEOUT
    attempts: int = ATTEMPTS
    rotate: bool = False
    use_vc: bool = False


class Server:
    """One name server and its known behaviour."""

    __slots__ = ("echoes_case", "edns", "heard", "looping", "misses", "paused_until", "place")

    def __init__(self, place: Place) -> None:
        self.place = place
        self.heard = float("-inf")  # time of its last response
        self.misses = 0  # consecutive silences
        self.paused_until = float("-inf")
        self.looping = float("-inf")  # time until which it is not used at all
        self.edns = True
        self.echoes_case = True

    def answered(self, now: float) -> None:
        """Records a response."""
        self.heard, self.misses = now, 0

    def missed(self, since: float, now: float) -> bool:
        """Records that a query sent at `since` got no response. Returns whether that is new information."""
        if self.heard >= since or now < self.paused_until:
            return False
        self.misses += 1
        self.paused_until = now + min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(self.misses - 1, 10))
        return True


class Servers:
    """The servers of a configuration, in its order."""

    def __init__(self, places: Iterable[Place] = (), options: Options | None = None) -> None:
        self.options = options or Options()
        self.all = tuple(Server(place) for place in places)
        self._turn = 0

    def order(self, now: float) -> tuple[list[Server], list[Server]]:
        """Returns the servers to query, in order, and a silent one to retry in parallel with this query only."""
        asked = [server for server in self.all if server.looping <= now]
        if self.options.rotate and asked:
            self._turn += 1
            cut = self._turn % len(asked)
            asked = asked[cut:] + asked[:cut]
        good = [server for server in asked if not server.misses]
        silent = [server for server in asked if server.misses]
        if not good:
            return silent[:MOST_ASKED], []
        beside = [server for server in silent if server.paused_until <= now][:1]
        for server in beside:
            server.paused_until = now + LINGER
        rest = sorted((each for each in silent if each not in beside), key=lambda each: each.misses)
        return [*good, *rest][:MOST_ASKED], beside
