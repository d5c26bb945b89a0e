"""Watches a network: follows every host of it, and tells those who look on how it is now.

A host is asked for what it offers by a lookup. Who answers over DNS gets a session (:mod:`.subscriber`), which tells
of each change at once, and is asked for its serial every two seconds besides; who has no session for us is looked up
every two seconds. A session that ends is no event: what the host says next is.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Final, NamedTuple

from . import aio_transport, clock
from .answers import Told, introduce
from .connections import within_a_quarter
from .directory import Directory
from .errors import BadMessage
from .following import STATUS_TIMEOUT, Follower
from .inquiry import Found, Query, learn
from .leading import leader
from .lookup import Ask, Lookup, Outcome
from .memory import Memory, Standing
from .model import Peer, Service, Snapshot, fold
from .names import Name
from .policy import Policy
from .probing import Prober
from .secondary import Secondary
from .settings import Settings
from .subscriber import Subscriber
from .wire import PTR

_log = logging.getLogger("mddns")

EVERY: Final = 2.0  # seconds between questions to one host
MOST_UNANSWERED: Final = 3  # questions, and the host has vanished
REFUSED_FIRST: Final = 0.1  # seconds until a host that refused is asked again; doubles, to
REFUSED_AT_MOST: Final = 5.0
AWAY_AT_MOST: Final = 8.0  # the same for one that is silent, from EVERY on
SESSION_AGAIN: Final = 0.05  # seconds until a session that ended is begun anew; doubles, to
SESSION_AGAIN_AT_MOST: Final = 30.0
SESSION_ENDED: Final = 0.01  # seconds until the host is asked what is the matter: whoever ends closes its UDP port too
SESSION_PROVEN: Final = 0.25  # seconds after which a session was none that ends as soon as it begins
NONSENSE_FOR: Final = 60.0  # seconds without a session, where a host broke the protocol
MOST_POLLS: Final = 32  # lookups at one time
MOST_AT_ONCE: Final = 256  # hosts in one of them
MOST_SESSIONS: Final = 1000  # at one time, or a quarter of our descriptors; who has none is looked up
UNHURRIED: Final = 2000  # hosts; with more of them all pauses between lookups grow in proportion
SHARE: Final = 4  # times as long as it took to tell of a state, nobody is told of the next


def lead(services: Iterable[Service]) -> Service | None:
    """The leader among `services` at this moment."""
    return leader(services, clock.unix_ms())


class View(NamedTuple):
    """The network as it is known at one moment; it never changes, so that threads may share it."""

    services: tuple[Service, ...]
    by_name: Mapping[str, tuple[Service, ...]]
    silent: tuple[str, ...]
    asked: int
    snapshot: Snapshot | None

    def find(self, query: Query) -> Found:
        """What a lookup would find."""
        services = self.services if query.key is None else self.by_name.get(query.key, ())
        return Found(services, self.silent, self.asked, self.asked).matching(query.labels)


class Watching(NamedTuple):
    """Somebody who looks on."""

    told: Callable[[View, bool], None]  # with each new view; True where it is whole
    ended: Callable[[], None]  # the watcher was closed


class _Host:
    """What is known of one peer beside what it offers. Times are the event loop's."""

    def __init__(self, peer: Peer, apex: Name, now: float) -> None:
        self.peer = peer
        self.copy = Secondary(apex)
        self.next = now  # when it is asked again
        self.polled = False  # whether a lookup has ended
        self.busy = False  # in a lookup under way
        self.spoke = False  # whether it ever answered
        self.unanswered = 0
        self.pause = 0.0
        self.probing = False
        self.session: Subscriber | None = None
        self.task: asyncio.Task[None] | None = None
        self.session_from = now  # not before
        self.session_pause = SESSION_AGAIN


class Watcher:
    """Watches the network of `settings`, from :meth:`start` to :meth:`close`."""

    def __init__(self, settings: Settings, policy: Policy | None = None) -> None:
        self.view: View | None = None  # None until it is whole
        self._settings = settings
        self._directory = Directory(settings.apex.wire, Memory(), policy or Policy())
        self._hosts: dict[str, _Host] = {}
        self._places: dict[tuple[str, int], _Host] = {}
        self._snapshot: Snapshot | None = None
        self._current = False
        self._version = -1
        self._latest: View | None = None
        self._watching: dict[object, Watching] = {}
        self._kicked = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._polls = 0
        self._most_sessions = within_a_quarter(MOST_SESSIONS)
        self._room = 0  # for more of them
        self._pace = 1.0
        self._turns = clock.Turns(clock.now())
        self._publishing = False
        self._publish_from = 0.0  # with thousands of services not without end
        self._prober: Prober | None = None

    async def start(self) -> None:
        """Reads the network and begins. NetworkError where it cannot be read."""
        self._prober = Prober(self._settings.apex, self._probed)
        await self._seen(await self._settings.network.aread(STATUS_TIMEOUT), 0.0)
        self._follower = Follower(self._settings.network, self._seen, self._tick)
        self._spawn(self._follower.run())
        self._spawn(self._ask_around())

    async def close(self) -> None:
        """Ends every session, and all asking."""
        self.view = None
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._prober:
            self._prober.close()
        watching, self._watching = self._watching, {}
        for each in watching.values():
            each.ended()

    def add(self, key: object, watching: Watching) -> None:
        """Somebody looks on, and is told at once what is known already."""
        self._watching[key] = watching
        if self._latest:
            watching.told(self._latest, self._current)

    def remove(self, key: object) -> None:
        """And does so no more. Twice does no harm."""
        self._watching.pop(key, None)

    def look_now(self) -> None:
        """Reads anew who is on the network."""
        self._follower.look_now()

    def sessions(self) -> int:
        """How many hosts have a session with us."""
        return sum(host.session is not None for host in self._hosts.values())

    def descriptors(self) -> list[int]:
        """The numbers of the sockets that stay open for longer than a lookup."""
        numbers = [host.session.fileno() for host in self._hosts.values() if host.session]
        numbers += self._prober.descriptors() if self._prober else ()
        return [number for number in numbers if number >= 0]

    # The network

    async def _seen(self, snapshot: Snapshot, lost_for: float) -> None:
        self._snapshot, now = snapshot, self._now()
        self._directory.network(snapshot, with_own_host=True)
        peers = {peer.id: peer for peer in self._directory.peers}
        for key, host in list(self._hosts.items()):
            if key not in peers or not host.peer.is_same_node(peers[key]):
                del self._hosts[key]
                self._end(host)
            else:
                host.peer = peers[key]
        for key, peer in peers.items():
            if key not in self._hosts:
                self._hosts[key] = _Host(peer, self._settings.apex, now)
        self._pace = max(1.0, len(self._hosts) / UNHURRIED)
        self._places = {(host.peer.route[0], host.peer.port): host for host in self._hosts.values()}
        self._kicked.set()
        self._publish_soon()

    def _tick(self) -> bool:
        if away := self._turns.away(clock.now()):
            self._directory.slept(away, clock.now())
            now = self._now()
            for host in self._hosts.values():  # whom we could not hear while we were away
                host.unanswered, host.probing, host.next = 0, False, now
            self._kicked.set()
        if self._latest and self._latest.silent:
            self._publish_soon()  # who is gone by now is silent no more
        return bool(away)

    # Asking

    async def _ask_around(self) -> None:
        while True:
            self._kicked.clear()
            now = self._now()
            due = [host for host in self._hosts.values() if not host.busy and host.next <= now]
            lookup = [host for host in due if host.session is None][:MOST_AT_ONCE]
            for host in due:
                if host.session is not None:
                    self._probe(host, now)
            if lookup and self._polls < MOST_POLLS:
                self._polls += 1
                for host in lookup:
                    host.busy = True
                self._spawn(self._poll(lookup))
            times = [host.next for host in self._hosts.values() if not host.busy]
            wait = max(0.01, min(times, default=now + EVERY) - self._now())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._kicked.wait()

    async def _poll(self, hosts: list[_Host]) -> None:
        """Looks up what these offer."""
        directory, now = self._directory, clock.now()
        lookup = Lookup(
            self._settings.apex,
            Name.of((b"_list",), self._settings.apex).wire,
            PTR,
            [(host.peer, Standing.REGISTRY if host.spoke else Standing.NEW) for host in hosts],
            now,
            timeout=self._settings.timeout,
            way=lambda peer: directory.memory.way(peer.id, now),
            lists=directory.memory.lists(now),
        )
        by_peer = {host.peer.id: host for host in hosts}
        try:
            await aio_transport.run(lookup, clock.now)
        except OSError as error:  # no descriptor is left
            _log.warning("%s", error)
        finally:
            self._polls -= 1
            for host in hosts:
                host.busy, host.next = False, self._now() + EVERY * self._pace
        if clock.now() <= lookup.deadline + clock.AWAY:
            self._room = self._most_sessions - self.sessions()
            for ask in lookup.asks:
                self._polled(by_peer[ask.peer.id], ask)
        self._kicked.set()
        self._publish_soon()

    def _polled(self, host: _Host, ask: Ask) -> None:
        if self._hosts.get(host.peer.id) is not host:
            return
        host.polled, now = True, self._now()
        if ask.outcome is Outcome.ANSWERED:
            host.unanswered, host.pause, host.spoke = 0, 0.0, True
            learn(self._directory, ask, self._network, clock.now())
            if ask.message is None or ask.listed is Outcome.ANSWERED:
                return  # it does not speak DNS
            if self._room <= 0:
                return
            if now >= host.session_from:
                self._room -= 1
                self._begin(host)
            else:
                host.next = min(host.next, host.session_from)
        elif ask.outcome is Outcome.REFUSED:
            host.unanswered, host.copy = 0, Secondary(self._settings.apex)
            learn(self._directory, ask, self._network, clock.now())
            host.pause = min(max(REFUSED_FIRST, 2 * host.pause), REFUSED_AT_MOST * self._pace)
            host.next = now + host.pause
        else:
            if ask.outcome is Outcome.SILENT:
                learn(self._directory, ask, self._network, clock.now())
            self._missed(host)
            if host.unanswered > MOST_UNANSWERED:
                host.pause = min(max(EVERY * self._pace, 1.5 * host.pause), AWAY_AT_MOST * self._pace)
                host.next = now + host.pause

    def _missed(self, host: _Host) -> None:
        host.unanswered += 1
        if host.unanswered == MOST_UNANSWERED:
            host.copy = Secondary(self._settings.apex)
            if host.spoke:
                self._directory.vanished(host.peer, clock.now())
                self._publish_soon()
            self._end(host)

    # Sessions

    def _begin(self, host: _Host) -> None:
        peer = host.peer

        def changed(instances: list[Told]) -> None:
            if self._hosts.get(peer.id) is host:
                self._learn(host, instances)

        session = Subscriber(peer.route, peer.port, host.copy, self._settings.apex, changed)
        host.session, host.probing = session, False
        host.task = self._spawn(self._follow(host, session))

    async def _follow(self, host: _Host, session: Subscriber) -> None:
        begun = self._now()
        stay_away = 0.0
        try:
            await session.run()
        except BadMessage as error:
            _log.warning("%s broke the protocol: %s", host.peer.shown, error, extra={"event": "nonsense"})
            stay_away = NONSENSE_FOR
        except OSError as error:
            _log.debug("no session with %s: %s", host.peer.shown, error)
        finally:
            if host.session is session:
                host.session = host.task = None
        now = self._now()
        stay_away = stay_away if session.refused is None else session.refused
        if now - begun > SESSION_PROVEN:
            host.session_pause = SESSION_AGAIN
        host.session_from = now + max(stay_away, host.session_pause)
        host.session_pause = min(2 * host.session_pause, SESSION_AGAIN_AT_MOST)
        host.next = now + SESSION_ENDED  # whatever ended it, what the host says now counts
        self._kicked.set()

    def _end(self, host: _Host) -> None:
        host.session = None
        if host.task:
            host.task.cancel()
            host.task = None

    def _learn(self, host: _Host, instances: Iterable[Told]) -> None:
        now, memory = clock.now(), self._directory.memory
        rtt = memory.rtt(host.peer.id)
        rtt_ms = None if rtt is None else round(rtt * 1000, 2)
        services = [introduce(told, host.peer, self._network, rtt_ms) for told in instances]
        self._directory.answered(host.peer, services, now, rtt=rtt)
        self._publish_soon()

    def _probe(self, host: _Host, now: float) -> None:
        if host.probing:
            self._missed(host)
            if host.session is None:
                return
        host.probing, host.next = True, now + EVERY
        if self._prober:
            self._prober.ask(host.peer.route[0], host.peer.port)

    def _probed(self, address: str, port: int, serial: int) -> None:
        host = self._places.get((address, port))
        if host and host.probing:
            host.probing, host.unanswered = False, 0
            self._directory.memory.answered(host.peer.id, clock.now(), None)
            if host.session:
                host.session.refresh(serial)

    # Telling

    def _publish_soon(self) -> None:
        if not self._publishing:
            self._publishing = True
            asyncio.get_running_loop().call_at(self._publish_from, self._publish_now)

    def _publish_now(self) -> None:
        begun = clock.spent()
        self._publish()
        self._publish_from = self._now() + SHARE * (clock.spent() - begun)

    def _publish(self) -> None:
        self._publishing = False
        directory, now = self._directory, clock.now()
        first = not self._current and all(host.polled for host in self._hosts.values())
        silent, before = directory.silent(now), self._latest
        if before and not first and (directory.version, silent) == (self._version, before.silent):
            return
        self._version, self._current = directory.version, self._current or first
        services = tuple(directory.services(now))
        named: dict[str, list[Service]] = {}
        for service in services:
            named.setdefault(fold(service.name), []).append(service)
        by_name = {name: tuple(group) for name, group in named.items()}
        self._latest = View(services, by_name, silent, directory.count(now), self._snapshot)
        if self._current:
            self.view = self._latest
        for watching in list(self._watching.values()):
            watching.told(self._latest, self._current)

    @property
    def _network(self) -> str:
        return self._snapshot.network if self._snapshot else ""

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
