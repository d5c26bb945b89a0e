"""Watches a network: follows every host of it, and calls its subscribers with each new state.

A lookup asks a host for the services that it offers (:mod:`.polling`). A host that answers over DNS gets a session
(:mod:`.session_schedule`), which reports each change without delay; besides, the host is queried for its serial every
two seconds. A host without a session is looked up every two seconds. The end of a session changes nothing in the state;
the next answer of the host does.
Where our own host has a holder with a mirror, the holder does all of this, once for all programs of its host
(:mod:`.own_holder`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final

from ..base.model import Peer, Service, Snapshot
from ..base.policy import Policy
from ..directory.directory import Directory
from ..directory.peer_memory import Memory
from ..directory.pushed import Followed, Hearing
from ..networks.follower import STATUS_TIMEOUT, Follower
from ..networks.settings import Settings
from ..system import clock
from .host_state import HostState
from .hosts import WatchedHosts, loop_time
from .mirror_zone import Stood
from .own_holder import OwnHolder
from .polling import Polling
from .session_schedule import SessionSchedule
from .view import View as View
from .view import Watching as Watching

_log = logging.getLogger("mddns")

SHARE: Final = 4  # after a state was published in t seconds of CPU time, the next one waits SHARE * t seconds
BROKEN: Final = (
    "watching has ended because of an internal error of mddns: see the log, and start again with a new Resolver"
)


class Watcher:
    """Watches the network of `settings`, from :meth:`start` to :meth:`close`.

    `own` is for the holder of our own host: it returns the services that the host offers. A watcher with `own` uses no
    holder's mirror, and fills :attr:`stood`. `other` is a directory that gets each answer of a peer; both directories
    share one memory of how peers behave. ``left_alone(peer)`` is called for each peer that is queried less often for a
    while; :meth:`heard` ends that.
    """

    def __init__(
        self,
        settings: Settings,
        policy: Policy | None = None,
        own: Callable[[], list[Service]] | None = None,
        other: Followed | None = None,
        left_alone: Callable[[Peer], None] | None = None,
    ) -> None:
        self._whole: View | None = None
        # Both belong to the last view: the states of peers (see WatchedHosts.stands), and the census of all peers.
        self.stood: tuple[Stood, ...] = ()
        self.census = ""
        self._own = own
        policy = policy or Policy()
        self._directory = Hearing(other, policy) if other else Directory(settings.apex.wire, Memory(), policy)
        # Where several hosts offer the same service, a mirror passes on only one of them. It does not know which of
        # them the policy of this process admits, so a mirror is used with the default policy alone.
        self._own_holder = OwnHolder(self._directory, allowed=own is None and type(policy) is Policy)
        self._hosts = WatchedHosts(settings.apex, self._directory, self._own_holder)
        self._sessions = SessionSchedule(self._hosts, self._spawn, self._publish_soon, self._kick, self._session_ended)
        self._polling = Polling(settings, self._hosts, self._sessions, self._spawn, self._publish_soon, left_alone)
        self._network = settings.network
        self._follower = Follower(settings.network, self._seen, self._tick)
        self._turns = clock.Turns(clock.now())
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None
        self._snapshot: Snapshot | None = None
        self._current = False
        self._version: tuple[object, ...] = ()
        self._latest: View | None = None
        self._watching: dict[object, Watching] = {}
        self._publishing = False
        self._publish_from = 0.0  # not before: with thousands of services, publishing would take all of the time

    @property
    def view(self) -> View | None:
        """The network; None unless it is known as a whole. None too where this process was stopped or starved, and may
        have missed something.

        After sleep it is whole when every host whose services we know has answered again.
        """
        return self._whole if self._polling.pulse.is_steady(clock.now()) else None

    async def start(self) -> None:
        """Reads the network and starts to watch it. Raises NetworkError if the network cannot be read."""
        await self._seen(await self._network.aread(STATUS_TIMEOUT), 0.0)
        self._spawn(self._follower.run())
        self._polling.start()

    async def close(self) -> None:
        """Ends every session and every query, and calls ``ended(None)`` of each subscriber."""
        self._whole = None
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._polling.close()
        self._end_all(None)

    def add(self, key: object, watching: Watching) -> None:
        """Subscribes `watching` under `key`. If there is a view already, the subscriber gets it before this returns."""
        if self._failure:
            watching.ended(self._failure)
            return
        self._watching[key] = watching
        if self._latest:
            watching.told(self._latest, self._current)

    def remove(self, key: object) -> None:
        """Unsubscribes `key`; does nothing if it is not subscribed."""
        self._watching.pop(key, None)

    def look_now(self) -> None:
        """Reads the list of peers again now."""
        self._follower.look_now()

    def heard(self, peer: str) -> None:
        """Notes that the peer with the id `peer` sent us a query, so it is up."""
        self._polling.heard(peer)

    def own_changed(self) -> None:
        """Takes over the services of our own host from `own`, after they changed."""
        me = self._hosts.me
        if self._own and me and me.asked:
            self._directory.answered(me, self._own(), clock.now())
            self._publish_soon()

    def sessions(self) -> int:
        """Returns the number of hosts that we have a session with."""
        return self._sessions.count()

    def descriptors(self) -> list[int]:
        """Returns the file descriptors of the sockets that stay open for longer than a lookup."""
        return [number for number in (*self._sessions.descriptors(), *self._polling.descriptors()) if number >= 0]

    # The network

    async def _seen(self, snapshot: Snapshot, lost_for: float) -> None:
        self._snapshot = snapshot
        for gone in self._hosts.seen(snapshot, holder=self._own is not None, now=loop_time()):
            self._sessions.end(gone)
        self.own_changed()
        if self._own_holder.complete:
            self._sessions.relayed()
        self._polling.network_changed()
        self._publish_soon()

    def _tick(self) -> bool:
        if away := self._turns.away(clock.now()):
            self._directory.slept(away, clock.now())
            self._polling.slept()
            self._publish_soon()
        if self._latest and self._latest.silent:
            self._publish_soon()  # a silent host may count as gone by now
        return bool(away)

    # Its parts

    def _kick(self) -> None:
        self._polling.kick()

    async def _session_ended(self, host: HostState, since: float, abruptly: bool) -> None:
        await self._polling.session_ended(host, since, abruptly)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) and self._failure is None:
            _log.error("watching has ended because of an internal error", exc_info=error)
            self._failure, self._whole = error, None
            for other in self._tasks:
                other.cancel()
            self._end_all(error)

    def _end_all(self, error: BaseException | None) -> None:
        watching, self._watching = self._watching, {}
        for each in watching.values():
            each.ended(error)

    # Publishing

    def _publish_soon(self) -> None:
        if not self._publishing:
            self._publishing = True
            asyncio.get_running_loop().call_at(self._publish_from, self._publish_now)

    def _publish_now(self) -> None:
        begun = clock.spent()
        self.publish()
        self._publish_from = loop_time() + SHARE * (clock.spent() - begun)

    def publish(self) -> None:
        """Calls each subscriber with the new view, if anything changed, without waiting for the next turn."""
        self._publishing = False
        if self._snapshot is None:
            return
        directory, hosts, now = self._directory, self._hosts, clock.now()
        whole = self._own_holder.whole or all(host.polled for host in hosts.by_id.values())
        first = not self._current and whole
        silent = directory.silent(now)
        stood = tuple(hosts.stands(holder=True)) if self._own else ()
        if first:
            self._current = True
            self._sessions.whole()
        version = directory.version, silent, hosts.census, stood
        news = None
        if self._latest is None or first or version != self._version:
            self.stood, self.census = stood, hosts.census
            self._version = version
            news = self._latest = View.of(directory, self._snapshot, now)
        self._whole = self._latest if self._current and not hosts.in_doubt() else None
        if news:
            for watching in list(self._watching.values()):
                watching.told(news, self._current)
