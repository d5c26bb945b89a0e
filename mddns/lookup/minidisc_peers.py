"""The peers of a lookup that are queried by HTTP, as Minidisc nodes are, for services without DNS. No I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from typing import Final

from ..base.model import Peer
from ..codec.answer import Answer
from ..directory.peer_memory import Way
from .asked_peer import Ask, Outcome

WEB_AT_ONCE: Final = 64  # most HTTP connections at the same time
TCP_BEGINS: Final = 0.250  # seconds (or four round trips) in which a DNS server begins to answer over TCP

_PENDING, _ANSWERED, _REFUSED, _ = Outcome  # access to a member of an Enum is slow


class Web:
    """The HTTP requests of a lookup. `way` returns whether a peer gets one; `lists` are the ids that get it `AT_ONCE`.

    `name`, in lower case, is the service name of the lookup; None for all services.
    """

    def __init__(self, way: Callable[[Peer], Way] | None, lists: Collection[str], name: bytes | None) -> None:
        self.lists = lists if way else ()
        self._way = way
        self._name = name
        self._queue: deque[Ask] = deque()
        self._under_way = 0
        self._unheard: list[tuple[float, Ask]] = []  # queried over TCP, and by when an answer should have begun

    def wanted(self) -> list[Ask]:
        """Takes the asks that need a connection now, as many as the limit allows."""
        wanted = []
        while self._queue and self._under_way < WEB_AT_ONCE:
            wanted.append(self._queue.popleft())
            self._under_way += 1
        return wanted

    def way_to(self, ask: Ask) -> Way:
        """Returns whether, and when, the peer of an ask is queried by HTTP."""
        if ask.way is None:
            ask.way = Way.NEVER if ask.merged or self._way is None else self._way(ask.peer)
        return ask.way

    def ask(self, ask: Ask) -> bool:
        """Queues an HTTP request, over IPv4 as Minidisc needs it. Returns False if the peer gets none."""
        if ask.over_web or self.way_to(ask) is Way.NEVER:
            return False
        address = next((each for each in ask.peer.route if ":" not in each), None)
        if address is None:
            return False
        ask.over_web = address
        self._queue.append(ask)
        return True

    def doubt(self, ask: Ask, now: float) -> None:
        """The ask is sent by DNS over TCP, but Minidisc may have that port: starts a timer for :meth:`ask_unheard`."""
        self._unheard.append((now + max(TCP_BEGINS, 4 * (ask.rtt or 0.0)), ask))

    def doubts(self) -> list[float]:
        """The times at which :meth:`ask_unheard` has something to do."""
        return [at for at, _ in self._unheard]

    def ask_unheard(self, now: float) -> None:
        """Queues HTTP requests for the asks that have not begun to answer over TCP in time."""
        if not self._unheard:
            return
        late = [ask for at, ask in self._unheard if at <= now]
        self._unheard = [each for each in self._unheard if each[0] > now]
        for ask in late:
            if ask.outcome is _PENDING and ask.transfer is None:
                self.ask(ask)

    def received(self, ask: Ask, body: bytes) -> Answer | None:
        """Reads a response to ``/services``. Returns its services and those from DNS, None for an invalid list."""
        from ..codec.minidisc_json import beside_dns, read_services  # only networks with Minidisc nodes need it

        try:
            listed = read_services(body, ask.peer)
        except ValueError:
            return None
        self._under_way -= 1
        ask.listed = _ANSWERED
        if listed.left_out and ask.outcome is _PENDING:
            import logging

            logging.getLogger("mddns").info(
                "%s: %d entries or labels of its list are ignored: %s", ask.peer.shown, listed.left_out, listed.why
            )
        known = ask.answer.told if ask.answer else ()
        told = beside_dns(listed.told, None if self._name is None else self._name.decode(), known)
        return Answer(told, False, False, False, ())

    def failed(self, ask: Ask) -> None:
        """The peer does not list services by HTTP, or closed the connection too early."""
        self._under_way -= 1
        ask.listed = _REFUSED
