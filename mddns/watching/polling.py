"""Queries the watched hosts: hosts without a session by a lookup, hosts with a session for their serial over UDP.

A host that refuses or does not answer is looked up less and less often. In between it is queried for its serial over
UDP every two seconds, and its answer causes a lookup without further delay.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Final

from ..base.model import Peer
from ..base.names import Name
from ..directory.keeping_up import CAUGHT_UP, Pulse
from ..directory.peer_memory import Standing
from ..dns.message import PTR
from ..lookup import asyncio_sockets
from ..lookup.asked_peer import Ask, Outcome
from ..lookup.fanout import Lookup
from ..lookup.query import learn
from ..networks.settings import Settings
from ..system import clock
from .host_state import HostState
from .hosts import WatchedHosts, loop_time
from .push_client import PushClient
from .session_schedule import SessionSchedule, Spawn
from .soa_probe import Prober
from .tcp_probe import nobody_answers

_log = logging.getLogger("mddns")

EVERY: Final = 2.0  # seconds between queries to one host
AGAIN_SOON: Final = 0.5  # seconds for a session to transfer the change that its host's serial over UDP announced
BEATS: Final = 8  # moments within EVERY at which hosts are queried: a batch costs less than single queries
OWN_EVERY: Final = 1.0  # the same as EVERY, for our own holder while its mirror gives us the whole network
MOST_UNANSWERED: Final = 3  # queries without an answer, after which the host counts as vanished
REFUSED_FIRST: Final = 0.1  # seconds until a host that refused is looked up again; doubles up to REFUSED_AT_MOST
REFUSED_AT_MOST: Final = 5.0
AWAY_AT_MOST: Final = 8.0  # the longest pause for a silent host; the first is EVERY
SESSION_ENDED: Final = 0.01  # seconds until the host is queried: a process that exits closes its UDP port a bit later
KNOCK_WITHIN: Final = 0.05  # seconds for its kernel to refuse a TCP connection, which is cheaper than a lookup
MOST_POLLS: Final = 32  # lookups that run at the same time
MOST_AT_ONCE: Final = 256  # hosts in one lookup


class Polling:
    """Queries `hosts`, once it is started, and begins one of the `sessions` with each host that answers over DNS.

    ``news()`` is called when the services of a host may have changed. ``left_alone(peer)`` is called for each peer that
    is queried less often for a while; :meth:`heard` ends that. Needs a running event loop.
    """

    def __init__(
        self,
        settings: Settings,
        hosts: WatchedHosts,
        sessions: SessionSchedule,
        spawn: Spawn,
        news: Callable[[], None],
        left_alone: Callable[[Peer], None] | None,
    ) -> None:
        self._settings = settings
        self._hosts = hosts
        self._directory = hosts.directory
        self._own_holder = hosts.own_holder
        self._sessions = sessions
        self._spawn = spawn
        self._news = news
        self._left_alone = left_alone
        self.pulse = Pulse(clock.now())
        self._kicked = asyncio.Event()
        self._polls = 0
        self._room = 0  # how many more sessions may begin
        self._prober = Prober(settings.apex, self._probed)
        self._begun = loop_time()  # the beats count from here, so that watchers do not all query at the same moments

    def start(self) -> None:
        """Starts to query."""
        self._spawn(self._ask_around())

    def close(self) -> None:
        """Closes the sockets."""
        self._prober.close()

    def kick(self) -> None:
        """Wakes the loop: other hosts may be due than before."""
        self._kicked.set()

    def descriptors(self) -> list[int]:
        """Returns the file descriptors of the sockets."""
        return self._prober.descriptors()

    def heard(self, peer: str) -> None:
        """Notes that the peer with the id `peer` sent us a query, so it is up. Without a session, looks it up now."""
        host = self._hosts.by_id.get(peer)
        if host and host.session is None:
            host.busy = False  # a lookup that runs already may have asked too early; do not wait until it ends
            self._return_to(host)

    def network_changed(self) -> None:
        """Notes that the list of hosts has changed."""
        now = loop_time()
        if self._left_alone:
            for host in self._hosts.by_id.values():
                if host.left_until > now:
                    self._left_alone(host.peer)
        self.kick()

    def slept(self) -> None:
        """Queries all hosts again after this process was asleep, stopped or starved, as answers may be lost."""
        now = loop_time()
        for host in self._hosts.by_id.values():
            host.unanswered, host.probing, host.next, host.left_until = 0, False, now, now
            host.heard = False
        self.kick()

    async def session_ended(self, host: HostState, since: float, abruptly: bool) -> None:
        """Queries a host again after its session ended: its next answer decides, not the reason of the end.

        After an abrupt end, a refused TCP connection proves that the host's responder is gone: a responder that
        accepted TCP accepts it as long as it lives.
        """
        host.left_until, host.next = since, since + SESSION_ENDED + (KNOCK_WITHIN if abruptly else 0.0)
        self.kick()
        if not abruptly:
            return
        await asyncio.sleep(SESSION_ENDED)
        refused = await nobody_answers(host.peer.route, host.peer.port, self._settings.apex)
        if not self._hosts.has(host) or host.heard_at >= since:
            return
        if refused:
            self._directory.refused(host.peer, clock.now())
            self._refused(host)
            self._news()
        else:
            host.next = min(host.next, loop_time())
            self.kick()

    async def _ask_around(self) -> None:
        while True:
            self._kicked.clear()
            self.pulse.beat(clock.now())
            now = loop_time()
            asked_from = self._own_holder.asked_from
            due, again = [], now + EVERY
            for host in self._own_holder.among(self._hosts.by_id):
                if not host.busy:
                    if (asked := asked_from(host, now)) <= now:
                        due.append(host)
                    elif asked < again:
                        again = asked
            lookup = [host for host in due if host.session is None and host.left_until <= now][:MOST_AT_ONCE]
            for host in due:
                if host.session is not None:
                    self._probe(host, now)
                elif host.left_until > now:
                    self._knock(host, now)
            if lookup and self._polls < MOST_POLLS:
                self._polls += 1
                for host in lookup:
                    host.busy = True
                self._spawn(self._poll(lookup))
            again = min((again, *(asked_from(host, now) for host in due if not host.busy)))
            wait = max(0.01, again - loop_time())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._kicked.wait()

    # By lookups

    async def _poll(self, hosts: list[HostState]) -> None:
        """Looks up the services of `hosts` by one lookup."""
        memory, now, begun = self._directory.memory, clock.now(), loop_time()
        lookup = Lookup(
            self._settings.apex,
            Name.of((b"_list",), self._settings.apex).wire,
            PTR,
            [(host.peer, Standing.REGISTRY if host.spoke else Standing.NEW) for host in hosts],
            now,
            timeout=self._settings.timeout,
            way=lambda peer: memory.way(peer.id, now),
            lists=memory.lists(now),
        )
        by_peer = {host.peer.id: host for host in hosts}
        try:
            await asyncio_sockets.run(lookup, clock.now)
        except OSError as error:  # no descriptor is left
            _log.warning("%s", error)
        finally:
            self._polls -= 1
            for host in hosts:
                host.busy, host.next = False, max(loop_time(), begun + EVERY * self._hosts.pace)
        if clock.now() <= lookup.deadline + clock.AWAY:
            self._room = self._sessions.room()
            for ask in lookup.asks:
                if self._own_holder.asks(by_peer[ask.peer.id], loop_time()):
                    self._polled(by_peer[ask.peer.id], ask, now)
        self.kick()
        self._news()

    def _polled(self, host: HostState, ask: Ask, since: float) -> None:
        if not self._hosts.has(host):
            return
        host.polled, now = True, loop_time()
        if host.session is not None:
            return  # a later lookup was faster and began this session, which reports what is new
        if host.told_at >= since:  # while this lookup waited for other hosts, a newer answer of this one came
            host.next = now
            return
        host.told_at = since
        if ask.outcome is not Outcome.PENDING:
            learn(self._directory, ask, self._hosts.network, clock.now())
        if ask.outcome is Outcome.ANSWERED:
            host.unanswered, host.pause, host.spoke, host.heard, host.heard_at = 0, 0.0, True, True, now
            if ask.message is None or ask.listed is Outcome.ANSWERED or self._room <= 0:
                self._sessions.without(host)  # the host does not speak DNS, or there are too many sessions
            elif now >= host.session_from:
                self._room -= 1
                self._sessions.begin(host)
            else:
                host.next = min(host.next, host.session_from)
        elif ask.outcome is Outcome.REFUSED:
            self._refused(host)
        else:
            self._missed(host)
            if host.unanswered > MOST_UNANSWERED:
                pace = self._hosts.pace
                self._leave(host, min(max(EVERY * pace, 1.5 * host.pause), AWAY_AT_MOST * pace))

    def _refused(self, host: HostState) -> None:
        self._hosts.forget_copy(host)
        host.unanswered, host.heard, host.heard_at = 0, True, loop_time()
        self._sessions.without(host)
        self._leave(host, min(max(REFUSED_FIRST, 2 * host.pause), REFUSED_AT_MOST * self._hosts.pace))

    def _missed(self, host: HostState) -> None:
        host.unanswered += 1
        if self._own_holder.complete and self._own_holder.is_own(host):
            # The holder is our only source. After its last unanswered query all other hosts are queried, which takes
            # a moment.
            self.pulse.doubt(clock.now() + OWN_EVERY + CAUGHT_UP)
        if host.unanswered == MOST_UNANSWERED:
            self._hosts.forget_copy(host)
            host.heard, host.heard_at = True, loop_time()
            if host.spoke:
                self._directory.vanished(host.peer, clock.now())
            self._news()
            self._sessions.end(host)
            self._sessions.without(host)

    def _leave(self, host: HostState, pause: float) -> None:
        now = loop_time()
        host.pause, host.left_until = pause, now + pause
        host.next = min(host.left_until, now + EVERY * self._hosts.pace)
        if self._left_alone:
            self._left_alone(host.peer)

    def _return_to(self, host: HostState) -> None:
        host.next = host.left_until = loop_time()
        self.kick()

    # By serials

    def _knock(self, host: HostState, now: float) -> None:
        host.next = min(host.left_until, now + EVERY * self._hosts.pace)
        self._prober.ask(host.peer.route[0], host.peer.port)

    def _probe(self, host: HostState, now: float) -> None:
        if host.probing:
            self._missed(host)
            if host.session is None:
                return
        relays = self._own_holder.complete and self._own_holder.is_own(host)
        every = OWN_EVERY if relays else EVERY
        beat = every / BEATS
        host.probing, host.next = True, now + every - (now - self._begun) % beat
        self._prober.ask(host.peer.route[0], host.peer.port)

    def _probe_again(self, host: HostState, session: PushClient) -> None:
        if host.session is session and session.waits and not host.probing:
            self._probe(host, loop_time())

    def _probed(self, address: str, port: int, serial: int) -> None:
        host = self._hosts.at(address, port)
        if not host:
            return
        if host.session is None and host.left_until > loop_time():
            self._return_to(host)
        elif host.probing:
            host.probing, host.unanswered = False, 0
            if not host.heard and (serial == host.copy.serial or host.copy.is_mirror):
                host.heard = True
                self._news()
            self._directory.memory.answered(host.peer.id, clock.now(), None)
            own = self._own_holder.is_own(host)
            # Over UDP the holder answers with the serial of its own zone, which is never that of the mirror: so the
            # session asks for the mirror each time. Not before the first transfer has ended, which may take long.
            if host.session and not (own and host.copy.serial is None) and host.session.told(serial):
                asyncio.get_running_loop().call_later(AGAIN_SOON, self._probe_again, host, host.session)
            if own and host.copy.is_mirror and (self._own_holder.waits or not self._own_holder.complete):
                self._sessions.relayed()
