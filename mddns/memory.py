"""How each peer has behaved: who is a registry, how fast, who refused, who was silent.

It decides whom a lookup waits for and whom it leaves alone, and is never a source of answers.
Times are seconds of the caller's clock.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable
from typing import Any, Final

GONE_AFTER: Final = 30.0  # seconds without an answer, after which a registry counts for nothing
FIRST_PAUSE: Final = 5.0  # seconds before a peer that refused, or never answered, is asked again by a node
LONGEST_PAUSE: Final = 300.0
_MISS_STANDS: Final = 5.0  # a first miss is not forgotten before caches have run out
_IDLE_STANDS: Final = 60.0  # what was silent this long ago may well be up now
_JUST_NOW: Final = 1.0
_MOST_PEERS: Final = 10_000
_LATEST: Final = 1e12  # Unix seconds; what lies beyond is no time


class Standing(enum.IntEnum):
    """What a lookup owes a peer, in the order in which they are asked."""

    REGISTRY = 0  # it answers: wait for it until the deadline
    NEW = 1  # never asked: wait a little
    IDLE = 2  # refused, or silent for long: ask, do not wait


# A member of an Enum is looked up slowly, and this is asked of every peer.
_REGISTRY, _NEW, _IDLE = Standing


class Manners:
    """One peer's behaviour."""

    # As they are at first, which makes those of thousands of peers cheap.
    answered: float | None = None
    missed: float | None = None  # first question since then that it left unanswered
    idle = -math.inf  # last time that it refused, or was silent
    pause = 0.0
    paused_until = 0.0
    rtt: float | None = None

    def gone(self, now: float) -> bool:
        """Whether it was a registry and has been silent for too long."""
        return (
            self.answered is not None
            and self.missed is not None
            and now - self.answered >= GONE_AFTER
            and now - self.missed >= _MISS_STANDS
        )


class Memory:
    """The manners of all peers, by their id."""

    def __init__(self) -> None:
        self._peers: dict[str, Manners] = {}
        self.changed = False  # since it was made

    def standing(self, peer: str, now: float) -> Standing:
        """What a lookup at `now` owes `peer`."""
        manners = self._peers.get(peer)
        if manners is None:
            return _NEW
        if manners.answered is None:
            return _IDLE if now - manners.idle < _IDLE_STANDS else _NEW
        # Mostly nothing is owed, and then there is no need to ask whether it is gone.
        return _REGISTRY if manners.missed is None or not manners.gone(now) else _IDLE

    def paused_until(self, peer: str) -> float:
        """Until when a node that asks again and again leaves `peer` alone."""
        manners = self._peers.get(peer)
        return manners.paused_until if manners else 0.0

    def just_idle(self, peer: str, now: float) -> bool:
        """Whether `peer`, of whom nothing is expected, was found so a moment ago."""
        manners = self._peers.get(peer)
        if manners is None or now - manners.idle >= _JUST_NOW:
            return False
        return manners.answered is None or manners.gone(now)

    def silent(self, peer: str, now: float) -> bool:
        """Whether `peer` is a registry that owes an answer and still counts."""
        manners = self._peers.get(peer)
        return (
            manners is not None
            and manners.answered is not None
            and manners.missed is not None
            and not manners.gone(now)
        )

    def gone(self, peer: str, now: float) -> bool:
        """Whether what `peer` said is to be dropped."""
        manners = self._peers.get(peer)
        return manners is not None and manners.gone(now)

    def rtt(self, peer: str) -> float | None:
        """Seconds that its last answer took."""
        manners = self._peers.get(peer)
        return manners.rtt if manners else None

    def answered(self, peer: str, now: float, rtt: float | None) -> None:
        """It answered a DNS question about our zone."""
        manners = self._manners(peer)
        manners.answered = now
        if manners.missed is not None:
            manners.missed = None
        if manners.pause:
            manners.pause = manners.paused_until = 0.0
        if rtt is not None:
            manners.rtt = rtt

    def refused(self, peer: str, now: float) -> None:
        """Nobody answers there, says its kernel; or somebody who does not speak for our zone."""
        manners = self._manners(peer)
        manners.answered = manners.missed = None
        manners.idle = now
        self._pause(manners, now)

    def missed(self, peer: str, now: float) -> None:
        """It did not answer in time."""
        manners = self._manners(peer)
        manners.idle = now
        if manners.missed is None:
            manners.missed = now
        if manners.answered is None or manners.gone(now):
            self._pause(manners, now)

    def heard(self, peer: str) -> bool:
        """It asked us something, so it is up: what we thought of its silence is out of date. True if that is news."""
        manners = self._peers.get(peer)
        if manners is None or not manners.pause:
            return False
        manners.pause = manners.paused_until = 0.0
        return True

    def slept(self, seconds: float, now: float) -> None:
        """We were away for so long, until now: no silence of that time counts, and nobody is left alone for it."""
        for manners in self._peers.values():
            if manners.answered is not None:
                manners.answered = min(manners.answered + seconds, now)
            if manners.missed is not None:
                manners.missed = min(manners.missed + seconds, now)
            manners.pause = manners.paused_until = 0.0

    def forget(self, peers: Iterable[str]) -> None:
        """There are others at these addresses now."""
        for peer in peers:
            self._peers.pop(peer, None)

    def keep_only(self, peers: Iterable[str]) -> None:
        """Forgets everyone who is not of `peers`."""
        wanted = set(peers)
        for peer in [peer for peer in self._peers if peer not in wanted]:
            del self._peers[peer]

    def to_json(self, now: float, unix: float) -> dict[str, Any]:
        """As plain data, times as Unix seconds."""

        def at(moment: float | None) -> float | None:
            return None if moment is None or math.isinf(moment) else round(unix - now + moment, 3)

        return {
            "version": 1,
            "peers": {
                peer: {
                    "answered": at(manners.answered),
                    "missed": at(manners.missed),
                    "idle": at(manners.idle),
                    "rttMs": None if manners.rtt is None else round(manners.rtt * 1000, 2),
                }
                for peer, manners in self._peers.items()
            },
        }

    @classmethod
    def from_json(cls, data: Any, now: float, unix: float) -> Memory:
        """What :meth:`to_json` wrote; anything that cannot be understood is left out."""
        memory = cls()
        peers = data.get("peers") if isinstance(data, dict) and data.get("version") == 1 else None
        for peer, entry in list(peers.items())[:_MOST_PEERS] if isinstance(peers, dict) else ():
            if not isinstance(entry, dict):
                continue
            manners = memory._peers[str(peer)] = Manners()
            manners.answered = _moment(entry.get("answered"), now, unix)
            manners.missed = _moment(entry.get("missed"), now, unix)
            idle = _moment(entry.get("idle"), now, unix)
            # What another run found is not "just now": a service may well have been started after it.
            manners.idle = -math.inf if idle is None else min(idle, now - _JUST_NOW)
            rtt = entry.get("rttMs")
            manners.rtt = rtt / 1000 if isinstance(rtt, int | float) and 0 <= rtt < 60_000 else None
        return memory

    def _manners(self, peer: str) -> Manners:
        self.changed = True
        manners = self._peers.get(peer)
        if manners is None:
            if len(self._peers) >= _MOST_PEERS:
                del self._peers[next(iter(self._peers))]
            manners = self._peers[peer] = Manners()
        return manners

    @staticmethod
    def _pause(manners: Manners, now: float) -> None:
        manners.pause = min(max(FIRST_PAUSE, 2 * manners.pause), LONGEST_PAUSE)
        manners.paused_until = now + manners.pause


def _moment(value: Any, now: float, unix: float) -> float | None:
    if not isinstance(value, int | float) or not abs(value) < _LATEST:
        return None
    # A clock that was set back must not make the past lie ahead.
    return now - max(0.0, unix - value)
