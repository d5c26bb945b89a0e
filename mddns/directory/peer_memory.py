"""How each peer has behaved: whether it is a registry, its round-trip time, and whether it refused or was silent.

It decides which peers a lookup queries and which it waits for. It is never a source of answers.
Times are seconds of the caller's clock.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from ..base.model import Peer

GONE_AFTER: Final = 30.0  # seconds without an answer, after which the services of a registry are dropped
FIRST_PAUSE: Final = 5.0  # seconds before a node queries a peer again that refused or never answered
LONGEST_PAUSE: Final = 300.0
LONGEST_WITHOUT_WEB: Final = 60.0  # most seconds until HTTP is tried again; a Minidisc node does not announce itself
BESIDE_STANDS: Final = 60.0  # seconds for which we assume that Minidisc has the TCP port, beside DNS on UDP
_MISS_STANDS: Final = 5.0  # seconds after the first miss before a registry can be gone: caches last as long
_IDLE_STANDS: Final = 60.0  # seconds after which a peer that was silent may be up again
_JUST_NOW: Final = 1.0
_MOST_PEERS: Final = 10_000
_LATEST: Final = 1e12  # Unix seconds; a larger number is not a time


class Standing(enum.IntEnum):
    """What a lookup expects of a peer. Peers are queried in this order."""

    REGISTRY = 0  # it has answered before: wait for it until the deadline
    NEW = 1  # never queried, or not in the last minute: wait a short time
    IDLE = 2  # refused, or silent for long: query it, but do not wait


# Access to a member of an Enum is slow, and this runs for every peer.
_REGISTRY, _NEW, _IDLE = Standing


class Way(enum.Enum):
    """When a peer is queried by HTTP, as Minidisc nodes are."""

    NEVER = "never"  # it was tried a short time ago, and did not list services by HTTP
    REFUSED = "refused"  # only after its kernel reported that no process answers DNS
    AT_ONCE = "at once"  # known to list by HTTP: do not wait for a refusal, since kernels limit the rate of them


class Manners:
    """The behaviour of one peer."""

    # Class attributes are the defaults: this makes the objects of thousands of peers cheap.
    answered: float | None = None
    away = 0.0  # seconds that were added to `answered` because the machine slept
    missed: float | None = None  # the first query since `answered` without an answer
    idle = -math.inf  # when it last refused or was silent
    pause = 0.0
    paused_until = 0.0
    rtt: float | None = None
    web = -math.inf  # until when we assume that it lists services by HTTP
    web_pause = 0.0
    web_paused_until = 0.0

    def gone_from(self) -> float:
        """When it counts as gone; infinity if it never was a registry or has answered the last query."""
        if self.answered is None or self.missed is None:
            return math.inf
        return max(self.answered + GONE_AFTER, self.missed + _MISS_STANDS)

    def gone(self, now: float) -> bool:
        """Whether it was a registry and was silent for too long."""
        return self.gone_from() <= now


class Memory:
    """The behaviour of all peers, by their id."""

    def __init__(self) -> None:
        self._peers: dict[str, Manners] = {}
        self._lists: set[str] = set()  # peers that list services by HTTP, or did a short time ago
        self.changed = False  # whether it has changed since it was made

    def standing(self, peer: str, now: float) -> Standing:
        """What a lookup at `now` expects of `peer`."""
        manners = self._peers.get(peer)
        if manners is None:
            return _NEW
        if manners.answered is None:
            return _IDLE if now - manners.idle < _IDLE_STANDS else _NEW
        # Most peers have answered the last query, and then `gone` need not be computed.
        return _REGISTRY if manners.missed is None or not manners.gone(now) else _IDLE

    def paused_until(self, peer: str) -> float:
        """Until when a node that queries repeatedly must not query `peer` (its back-off)."""
        manners = self._peers.get(peer)
        if manners is None:
            return 0.0
        # A Minidisc node that starts sends us no query that would end its back-off.
        return min(manners.paused_until, manners.web_paused_until) if manners.web_pause else manners.paused_until

    def way(self, peer: str, now: float) -> Way:
        """Whether, and when, a lookup at `now` queries `peer` by HTTP."""
        manners = self._peers.get(peer)
        if manners is None:
            return Way.REFUSED
        if now < manners.web:
            return Way.AT_ONCE
        return Way.NEVER if now < manners.web_paused_until else Way.REFUSED

    def owed(self, peers: Iterable[Peer], now: float) -> list[tuple[Peer, Standing]]:
        """The peers that a lookup at `now` queries, each with its standing.

        Leaves out idle peers that refused or were silent less than a second ago.
        """
        known = self._peers
        chosen = []
        for peer in peers:
            manners = known.get(peer.id)
            if manners is None:
                chosen.append((peer, _NEW))
            elif manners.missed is None and manners.answered is not None:
                chosen.append((peer, _REGISTRY))
            elif (standing := self.standing(peer.id, now)) is not _IDLE or now - manners.idle >= _JUST_NOW:
                chosen.append((peer, standing))
        return chosen

    def silent(self, peer: str, now: float) -> bool:
        """Whether `peer` is a registry that did not answer and is not gone yet."""
        manners = self._peers.get(peer)
        return (
            manners is not None
            and manners.answered is not None
            and manners.missed is not None
            and not manners.gone(now)
        )

    def gone(self, peer: str, now: float) -> bool:
        """Whether `peer` counts as gone, so its services must be dropped."""
        manners = self._peers.get(peer)
        return manners is not None and manners.gone(now)

    def all_silent(self, peers: Iterable[Peer], now: float) -> list[Peer]:
        """Those of `peers` that are :meth:`silent`."""
        known = self._peers
        # Nearly all have answered the last query.
        owing = [peer for peer in peers if (manners := known.get(peer.id)) is not None and manners.missed is not None]
        return [peer for peer in owing if self.silent(peer.id, now)]

    def all_gone(self, peers: Iterable[str], now: float) -> frozenset[str]:
        """Those of `peers` that are :meth:`gone`."""
        known = self._peers
        owing = [peer for peer in peers if (manners := known.get(peer)) is not None and manners.missed is not None]
        return frozenset(peer for peer in owing if self.gone(peer, now))

    def last_answer(self, peer: str) -> float:
        """When `peer` last answered, not moved by sleep of the machine; -inf if it never did."""
        manners = self._peers.get(peer)
        return -math.inf if manners is None or manners.answered is None else manners.answered - manners.away

    def next_gone(self, peers: Iterable[str], now: float) -> float:
        """When the next of `peers` will count as gone; infinity if none will."""
        known = self._peers
        when = (manners.gone_from() for peer in peers if (manners := known.get(peer)) is not None)
        return min((each for each in when if each > now), default=math.inf)

    def rtt(self, peer: str) -> float | None:
        """The round-trip time of its last answer in seconds, None if not known."""
        manners = self._peers.get(peer)
        return manners.rtt if manners else None

    def answered(self, peer: str, now: float, rtt: float | None, *, web: bool = False, dns: bool = True) -> None:
        """`peer` answered a DNS query for our zone (`dns`), or listed its services by HTTP (`web`), or both."""
        manners = self._manners(peer)
        manners.answered = now
        if manners.away:
            manners.away = 0.0
        if manners.missed is not None:
            manners.missed = None
        if manners.pause:
            manners.pause = manners.paused_until = 0.0
        if rtt is not None:
            manners.rtt = rtt
        if web or manners.web_pause or manners.web > -math.inf:
            self._told_by_web(peer, manners, now, web, dns)

    def all_answered(self, answers: Iterable[tuple[str, float | None]], now: float) -> None:
        """As :meth:`answered` by DNS, for many: pairs of a peer and its round-trip time."""
        known = self._peers
        for peer, rtt in answers:
            manners = known.get(peer)
            if manners is None and len(known) < _MOST_PEERS:
                manners = known[peer] = Manners()
                manners.answered = now
                manners.rtt = rtt
            else:
                self.answered(peer, now, rtt)
        self.changed = True

    def refused(self, peer: str, now: float) -> None:
        """The kernel of `peer` reported a closed port, or its DNS server does not serve our zone."""
        manners = self._manners(peer)
        manners.answered = manners.missed = None
        manners.idle = now
        self._pause(manners, now)

    def _told_by_web(self, peer: str, manners: Manners, now: float, web: bool, dns: bool) -> None:
        manners.web_pause = manners.web_paused_until = 0.0
        if web or now >= manners.web or manners.web == math.inf:
            manners.web = -math.inf if not web else now + BESIDE_STANDS if dns else math.inf
        (self._lists.add if manners.web > now else self._lists.discard)(peer)

    def lists(self, now: float) -> frozenset[str]:
        """The peers that list services by HTTP; usually none."""
        return frozenset(peer for peer in self._lists if self.way(peer, now) is Way.AT_ONCE)

    def without_web(self, peer: str, now: float) -> None:
        """`peer` does not list services by HTTP."""
        manners = self._manners(peer)
        manners.web = -math.inf
        self._lists.discard(peer)
        manners.web_pause = min(max(FIRST_PAUSE, 2 * manners.web_pause), LONGEST_WITHOUT_WEB)
        manners.web_paused_until = now + manners.web_pause

    def missed(self, peer: str, now: float) -> None:
        """`peer` did not answer in time."""
        manners = self._manners(peer)
        manners.idle = now
        if manners.missed is None:
            manners.missed = now
        if manners.answered is None or manners.gone(now):
            self._pause(manners, now)

    def heard(self, peer: str) -> bool:
        """`peer` sent us a query, so it is up: ends its back-off. Returns True if there was one."""
        manners = self._peers.get(peer)
        if manners is None or not (manners.pause or manners.web_pause):
            return False
        manners.pause = manners.paused_until = 0.0
        manners.web_pause = manners.web_paused_until = 0.0
        return True

    def slept(self, seconds: float, now: float) -> None:
        """The machine slept for `seconds`, until `now`: that time does not count as silence, and all back-offs end."""
        for manners in self._peers.values():
            if manners.answered is not None:
                later = min(manners.answered + seconds, now)
                manners.away += later - manners.answered
                manners.answered = later
            if manners.missed is not None:
                manners.missed = min(manners.missed + seconds, now)
        self.leave_nobody_alone()

    def leave_nobody_alone(self) -> None:
        """Ends all back-offs: a peer that started meanwhile may have announced itself to others, and not to us."""
        for manners in self._peers.values():
            manners.pause = manners.paused_until = 0.0
            manners.web_pause = manners.web_paused_until = 0.0

    def forget(self, peers: Iterable[str]) -> None:
        """Forgets `peers`: other nodes have their addresses now."""
        for peer in peers:
            self._peers.pop(peer, None)

    def keep_only(self, peers: Iterable[str]) -> None:
        """Forgets all peers except `peers`."""
        wanted = set(peers)
        for peer in [peer for peer in self._peers if peer not in wanted]:
            del self._peers[peer]

    def to_json(self, now: float, unix: float) -> dict[str, Any]:
        """The memory as plain data; times are Unix seconds."""

        def at(moment: float | None) -> float | None:
            return None if moment is None or math.isinf(moment) else round(unix - now + moment, 3)

        def way(manners: Manners) -> dict[str, Any]:
            if manners.web > now:
                return {"web": "alone" if math.isinf(manners.web) else at(manners.web)}
            paused = {"webPause": manners.web_pause, "webPausedUntil": at(manners.web_paused_until)}
            return paused if manners.web_pause else {}

        return {
            "version": 1,
            "peers": {
                peer: {
                    "answered": at(manners.answered),
                    "missed": at(manners.missed),
                    "idle": at(manners.idle),
                    "rttMs": None if manners.rtt is None else round(manners.rtt * 1000, 2),
                    **way(manners),
                }
                for peer, manners in self._peers.items()
            },
        }

    @classmethod
    def from_json(cls, data: Any, now: float, unix: float) -> Memory:
        """Reads what :meth:`to_json` wrote. Skips invalid entries."""
        memory = cls()
        peers = data.get("peers") if isinstance(data, dict) and data.get("version") == 1 else None
        for peer, entry in list(peers.items())[:_MOST_PEERS] if isinstance(peers, dict) else ():
            if not isinstance(entry, dict):
                continue
            manners = memory._peers[str(peer)] = Manners()
            manners.answered = _moment(entry.get("answered"), now, unix)
            manners.missed = _moment(entry.get("missed"), now, unix)
            idle = _moment(entry.get("idle"), now, unix)
            # An earlier process found this: a service may have started since, so the peer must be queried again.
            manners.idle = -math.inf if idle is None else min(idle, now - _JUST_NOW)
            rtt = entry.get("rttMs")
            manners.rtt = rtt / 1000 if isinstance(rtt, int | float) and 0 <= rtt < 60_000 else None
            web = entry.get("web")
            if web == "alone":
                manners.web = math.inf
            elif isinstance(web, int | float) and 0 < web - unix <= BESIDE_STANDS:
                manners.web = now + web - unix
            if manners.web > now:
                memory._lists.add(str(peer))
            pause, until = entry.get("webPause"), entry.get("webPausedUntil")
            if isinstance(pause, int | float) and isinstance(until, int | float) and 0 < pause <= LONGEST_WITHOUT_WEB:
                manners.web_pause = pause
                # The system clock may have been set back; the pause must not become longer by that.
                manners.web_paused_until = now + min(max(0.0, until - unix), pause)
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
    # If the system clock was set back, a time of the past must not lie in the future.
    return now - max(0.0, unix - value)
