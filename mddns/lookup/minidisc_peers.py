"""The peers of a lookup that are asked as Minidisc's nodes are, by HTTP, for what DNS does not tell. No I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from typing import Final

from ..base.model import Peer
from ..codec.answer import Answer
from ..directory.peer_memory import Way
from .asked_peer import Ask, Outcome

WEB_AT_ONCE: Final = 64  # connections to peers that have no DNS
TCP_BEGINS: Final = 0.250  # seconds (or four round trips) in which DNS over TCP has an answer, where it is DNS

_PENDING, _ANSWERED, _REFUSED, _ = Outcome  # a member of an Enum is looked up slowly


class Web:
    """Who is asked so, as `way` tells; `lists` are the ids of those for which it is `AT_ONCE`.

    `name`, in lower case, is the one that is looked for; None for everything.
    """

    def __init__(self, way: Callable[[Peer], Way] | None, lists: Collection[str], name: bytes | None) -> None:
        self.lists = lists if way else ()
        self._way = way
        self._name = name
        self._queue: deque[Ask] = deque()
        self._under_way = 0
        self._unheard: list[tuple[float, Ask]] = []  # asked over TCP, and by when that should have begun to answer

    def wanted(self) -> list[Ask]:
        """The asks that need a connection now, as many as there may be."""
        wanted = []
        while self._queue and self._under_way < WEB_AT_ONCE:
            wanted.append(self._queue.popleft())
            self._under_way += 1
        return wanted

    def way_to(self, ask: Ask) -> Way:
        """Whether its peer is asked so."""
        if ask.way is None:
            ask.way = Way.NEVER if ask.merged or self._way is None else self._way(ask.peer)
        return ask.way

    def ask(self, ask: Ask) -> bool:
        """Asks, where that is worth it; Minidisc answers at IPv4 alone. False where it is not."""
        if ask.over_web or self.way_to(ask) is Way.NEVER:
            return False
        address = next((each for each in ask.peer.route if ":" not in each), None)
        if address is None:
            return False
        ask.over_web = address
        self._queue.append(ask)
        return True

    def doubt(self, ask: Ask, now: float) -> None:
        """It is asked over TCP, where it may be Minidisc that has the port."""
        self._unheard.append((now + max(TCP_BEGINS, 4 * (ask.rtt or 0.0)), ask))

    def doubts(self) -> list[float]:
        """When :meth:`ask_unheard` has something to do."""
        return [at for at, _ in self._unheard]

    def ask_unheard(self, now: float) -> None:
        """Asks those so that have not begun to answer over TCP."""
        if not self._unheard:
            return
        late = [ask for at, ask in self._unheard if at <= now]
        self._unheard = [each for each in self._unheard if each[0] > now]
        for ask in late:
            if ask.outcome is _PENDING and ask.transfer is None:
                self.ask(ask)

    def received(self, ask: Ask, body: bytes) -> Answer | None:
        """``/services`` was answered: what the peer has, as far as it is known by now; None where it is no list."""
        from ..codec.minidisc_json import beside_dns, read_services  # where nobody speaks Minidisc, nobody needs it

        try:
            listed = read_services(body, ask.peer)
        except ValueError:
            return None
        self._under_way -= 1
        ask.listed = _ANSWERED
        if listed.left_out and ask.outcome is _PENDING:
            import logging

            logging.getLogger("mddns").info(
                "%s: %d entries of its list cannot be taken: %s", ask.peer.shown, listed.left_out, listed.why
            )
        known = ask.answer.told if ask.answer else ()
        told = beside_dns(listed.told, None if self._name is None else self._name.decode(), known)
        return Answer(told, False, False, False, ())

    def failed(self, ask: Ask) -> None:
        """Nobody lists services there; or whoever does broke off."""
        self._under_way -= 1
        ask.listed = _REFUSED
