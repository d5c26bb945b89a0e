"""The sessions with watched hosts: when a session begins, what is done with its data, and what follows its end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from ..base.errors import BadMessage
from ..system import clock
from ..system.connection_limits import within_a_quarter
from .host_state import SESSION_AGAIN, SESSION_AGAIN_AT_MOST, HostState
from .hosts import WatchedHosts, loop_time
from .mirror_zone import MirrorCopy
from .push_client import PushClient

_log = logging.getLogger("mddns")

YIELD: Final = 0.1  # seconds until the hosts known only through a holder's mirror are queried, after it is gone
SESSION_PROVEN: Final = 0.25  # seconds; a session that lasted longer resets the pause before the next one
NONSENSE_FOR: Final = 60.0  # seconds without a session after a host broke the protocol
MOST_SESSIONS: Final = 1000  # at one time, or a quarter of the descriptor limit; other hosts are looked up
LEAST_HOSTS: Final = 64  # the copy of a mirror has room for at least so many hosts

Spawn = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]
Ended = Callable[[HostState, float, bool], Awaitable[None]]


class SessionSchedule:
    """Sessions with `hosts`.

    ``news()`` is called when the services of a host changed, ``kick()`` when other hosts are due for a query than
    before, and ``ended(host, now, abruptly)`` when a session is over. `abruptly`: the connection was open, and the
    session ended without a retry delay and without a protocol error; never for our own host.
    """

    def __init__(
        self,
        hosts: WatchedHosts,
        spawn: Spawn,
        news: Callable[[], None],
        kick: Callable[[], None],
        ended: Ended,
    ) -> None:
        self._hosts = hosts
        self._directory = hosts.directory
        self._own_holder = hosts.own_holder
        self._spawn = spawn
        self._news = news
        self._kick = kick
        self._ended = ended
        self._current = False
        self._most = within_a_quarter(MOST_SESSIONS)

    def count(self) -> int:
        """Returns the number of sessions."""
        return sum(host.session is not None for host in self._hosts.by_id.values())

    def room(self) -> int:
        """Returns how many more sessions may begin."""
        return self._most - self.count()

    def descriptors(self) -> list[int]:
        """Returns the file descriptors of their sockets."""
        return [host.session.fileno() for host in self._hosts.by_id.values() if host.session]

    def whole(self) -> None:
        """Notes that the network is known as a whole from now on."""
        self._current = True

    def begin(self, host: HostState) -> None:
        """Begins a session with `host`."""
        peer, own = host.peer, self._own_holder.is_own(host)

        def changed() -> None:
            if self._hosts.has(host) and host.session is session:
                self._told(host)

        if self._hosts.me and peer.id == self._hosts.me.id:
            # Each mirror has serials and a history of its own, so the copy of an earlier mirror is useless. The new
            # copy has room for twice the hosts of now, as more may appear while the mirror is followed.
            host.copy = MirrorCopy(self._hosts.apex, max(LEAST_HOSTS, 2 * len(self._hosts.by_id)))
        session = PushClient(peer.route, peer.port, host.copy, self._hosts.apex, changed, own=own)
        host.session, host.probing = session, False
        host.task = self._spawn(self._follow(host, session))

    def end(self, host: HostState) -> None:
        """Ends the session with `host`, if there is one."""
        host.session = None
        if host.task:
            host.task.cancel()
            host.task = None

    def without(self, host: HostState) -> None:
        """Notes that `host` has no mirror for us. If it is our own host, this process queries all hosts itself."""
        hosts = self._hosts.by_id
        if self._own_holder.is_own(host) and self._own_holder.none(hosts.values()):
            _log.debug("this host has no mirror: querying every host")
            # At this moment all other hosts notice too that the responder of this host is gone, and are busy with that.
            # Our queries are more work for them, so they come after it.
            pause, now = YIELD if self._current else 0.0, loop_time()
            for number, each in enumerate(hosts.values()):
                if each is not host:
                    each.next = now + pause * (1 + number / len(hosts))
            self._kick()

    def relayed(self) -> None:
        """Takes over the state of our own holder's mirror, after the mirror or our list of peers has changed."""
        own_holder, hosts = self._own_holder, self._hosts
        before = own_holder.complete
        taken = own_holder.told(hosts.by_id, hosts.network, self._current, loop_time(), clock.now())
        if own_holder.complete and not before:
            _log.debug("all data comes from the mirror of this host's holder")
        if taken and own_holder.moved:
            now = loop_time()
            for host in hosts.by_id.values():
                if not own_holder.asks(host, now) and (host.session or host.copy.serial is not None):
                    self.end(host)
                    hosts.forget_copy(host)
                    host.probing = False
            self._kick()
        if taken:
            self._news()

    async def _follow(self, host: HostState, session: PushClient) -> None:
        begun = loop_time()
        stay_away = 0.0
        try:
            await session.run()
        except BadMessage as error:
            _log.warning("%s broke the protocol: %s", host.peer.shown, error, extra={"event": "nonsense"})
            stay_away = NONSENSE_FOR
        except OSError as error:
            _log.debug("no session with %s: %s", host.peer.shown, error)
        except Exception:  # a bug in mddns that one host triggers must not end the watching of all others
            _log.exception("the session with %s ended because of an internal error", host.peer.shown)
            stay_away = NONSENSE_FOR
        finally:
            if host.session is session:
                host.session = host.task = None
        now = loop_time()
        if self._own_holder.is_own(host):
            if self._own_holder.complete and session.refused is None and not stay_away:
                self._own_holder.lost(self._hosts.by_id.values(), now)
            else:
                self.without(host)
        stay_away = stay_away if session.refused is None else session.refused
        if now - begun > SESSION_PROVEN:
            host.session_pause = SESSION_AGAIN
        host.session_from = now + max(stay_away, host.session_pause)
        host.session_pause = min(2 * host.session_pause, SESSION_AGAIN_AT_MOST)
        own = self._own_holder.is_own(host)
        await self._ended(host, now, session.connected and session.refused is None and not stay_away and not own)

    def _told(self, host: HostState) -> None:
        """Takes over the services of `host`, whose zone has changed."""
        if self._own_holder.is_own(host):
            if host.copy.is_mirror:
                self.relayed()
                return
            self.without(host)
        host.heard, host.heard_at = True, loop_time()
        now, rtt = clock.now(), self._directory.memory.rtt(host.peer.id)
        host.told_at = now
        rtt_ms = None if rtt is None else round(rtt * 1000, 2)
        network = self._hosts.network
        if host.copy.is_mirror:  # it took us for a program of its own host: only its own services are taken over
            mine = host.words.by_peer(host.copy.told(), {host.peer.id: host.peer}, network)
            services = mine.get(host.peer.id, ())
        else:
            services = host.words.of_one(host.copy.told(), host.peer, network, rtt_ms)
        self._directory.answered(host.peer, services, now, rtt=rtt)
        self._news()
