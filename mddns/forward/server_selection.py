"""Which upstream name server is asked next: those that answer first, silent ones last. No sockets, no clock.

A server that did not answer at all is asked last for a while that grows. It is tried again beside another one, so that
no client waits while we find out whether it answers again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from ..files.resolv_conf import Place

TIMEOUT: Final = 2.0  # seconds for a round through all servers, where nobody says otherwise
ATTEMPTS: Final = 2  # rounds
LINGER: Final = 1.0  # seconds after which who has said nothing is silent
FIRST_PAUSE: Final = 1.0  # seconds for which a silent server is asked last; doubles, to
LONGEST_PAUSE: Final = 60.0
LOOP_PAUSE: Final = 60.0  # seconds for which a server that asks us in turn is not asked
MOST_ASKED: Final = 4  # servers of one question


class Options(NamedTuple):
    """How servers are asked; see resolv.conf(5)."""

    timeout: float = TIMEOUT
    attempts: int = ATTEMPTS
    rotate: bool = False
    use_vc: bool = False


class Server:
    """One name server, and what is known of its manners."""

    __slots__ = ("echoes_case", "edns", "heard", "looping", "misses", "paused_until", "place")

    def __init__(self, place: Place) -> None:
        self.place = place
        self.heard = float("-inf")  # when it last answered anything
        self.misses = 0  # silences on end
        self.paused_until = float("-inf")
        self.looping = float("-inf")  # until when it is not asked at all
        self.edns = True
        self.echoes_case = True

    def answered(self, now: float) -> None:
        """It is there."""
        self.heard, self.misses = now, 0

    def missed(self, since: float, now: float) -> bool:
        """It did not answer what was asked at `since`; whether that says anything that was not known."""
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
        """Who is asked, in order; and who is tried again beside, by this question alone."""
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
