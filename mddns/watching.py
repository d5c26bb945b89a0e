"""Watches a network: follows every host of it, and tells those who look on how it is now.

A host is asked for what it offers by a lookup. Who answers over DNS gets a session (:mod:`.subscriber`), which tells
of each change at once, and is asked for its serial every two seconds besides; who has no session for us is looked up
every two seconds. A session that ends is no event: what the host says next is. Where our own host has a holder, all
of this is its business: it has what every host says, for all programs of its host (:mod:`.attachment`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Iterator
from typing import Final

from . import aio_transport, clock
from .ask import Ask, Outcome
from .attachment import Attachment
from .connections import within_a_quarter
from .directory import Directory
from .errors import BadMessage
from .followed import Followed, Hearing
from .following import STATUS_TIMEOUT, Follower
from .inquiry import learn
from .knock import nobody_answers
from .lookup import Lookup
from .memory import Memory, Standing
from .mirrored import MirrorCopy, State, Stood, census
from .model import Peer, Service, Snapshot
from .names import Name
from .policy import Policy
from .probing import Prober
from .settings import Settings
from .subscriber import Subscriber
from .view import View as View
from .view import Watching as Watching
from .watched import SESSION_AGAIN, SESSION_AGAIN_AT_MOST, Watched
from .wire import PTR

_log = logging.getLogger("mddns")

EVERY: Final = 2.0  # seconds between questions to one host
AGAIN_SOON: Final = 0.5  # seconds for a session to tell what its host has said over UDP that there is
BEATS: Final = 8  # moments in that time at which hosts are asked: many at once cost less than one at a time
OWN_EVERY: Final = 1.0  # the same to our own holder, where we have everything from it
MOST_UNANSWERED: Final = 3  # questions, and the host has vanished
REFUSED_FIRST: Final = 0.1  # seconds until a host that refused is asked again; doubles, to
REFUSED_AT_MOST: Final = 5.0
AWAY_AT_MOST: Final = 8.0  # the same for one that is silent, from EVERY on
SESSION_ENDED: Final = 0.01  # seconds until the host is asked what is the matter: whoever ends closes its UDP port too
KNOCK_WITHIN: Final = 0.05  # seconds for its kernel to say that nobody accepts connections any more, which is cheaper
YIELD: Final = 0.1  # seconds after which all are asked who were known through a holder that is gone
SESSION_PROVEN: Final = 0.25  # seconds after which a session was none that ends as soon as it begins
NONSENSE_FOR: Final = 60.0  # seconds without a session, where a host broke the protocol
MOST_POLLS: Final = 32  # lookups at one time
MOST_AT_ONCE: Final = 256  # hosts in one of them
MOST_SESSIONS: Final = 1000  # at one time, or a quarter of our descriptors; who has none is looked up
UNHURRIED: Final = 2000  # hosts; with more of them all pauses between lookups grow in proportion
SHARE: Final = 4  # times as long as it took to tell of a state, nobody is told of the next
LEAST_HOSTS: Final = 64  # for which there is room in a mirror


BROKEN: Final = "watching has ended by a fault of mddns: the log has it; begin anew with another Resolver"


class Watcher:
    """Watches the network of `settings`, from :meth:`start` to :meth:`close`.

    `own` is for the holder of our own host: what the host offers. It attaches to nobody, and tells how each peer
    stands. `other` is a directory which is to know what we find out of peers, and of whose ways we are to;
    `left_alone` is told of each peer that is asked less often for a while, unless it is :meth:`heard`.
    """

    def __init__(
        self,
        settings: Settings,
        policy: Policy | None = None,
        own: Callable[[], list[Service]] | None = None,
        other: Followed | None = None,
        left_alone: Callable[[Peer], None] | None = None,
    ) -> None:
        self.view: View | None = None  # None until it is whole
        # With the last view: how each peer stands, but who is none and offers nothing; and who they all are.
        self.stood: tuple[Stood, ...] = ()
        self.census = self._census = ""
        self._settings = settings
        policy = policy or Policy()
        self._directory = Hearing(other, policy) if other else Directory(settings.apex.wire, Memory(), policy)
        self._own = own
        self._left_alone = left_alone
        # Of what several hosts tell, a mirror gives one word on. Which one this process admits, it cannot know.
        self._attachment = Attachment(self._directory, allowed=own is None and type(policy) is Policy)
        self._hosts: dict[str, Watched] = {}
        self._places: dict[tuple[str, int], Watched] = {}
        self._snapshot: Snapshot | None = None
        self._current = False
        self._version: tuple[object, ...] = ()
        self._latest: View | None = None
        self._watching: dict[object, Watching] = {}
        self._failure: BaseException | None = None
        self._kicked = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._polls = 0
        self._most_sessions = within_a_quarter(MOST_SESSIONS)
        self._room = 0  # for more of them
        self._pace = 1.0
        self._begun = 0.0  # other watchers have other beats
        self._turns = clock.Turns(clock.now())
        self._publishing = False
        self._publish_from = 0.0  # with thousands of services not without end
        self._prober: Prober | None = None

    async def start(self) -> None:
        """Reads the network and begins. NetworkError where it cannot be read."""
        self._prober, self._begun = Prober(self._settings.apex, self._probed), self._now()
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
        self._end_all(None)

    def add(self, key: object, watching: Watching) -> None:
        """Somebody looks on, and is told at once what is known already."""
        if self._failure:
            watching.ended(self._failure)
            return
        self._watching[key] = watching
        if self._latest:
            watching.told(self._latest, self._current)

    def remove(self, key: object) -> None:
        """And does so no more. Twice does no harm."""
        self._watching.pop(key, None)

    def look_now(self) -> None:
        """Reads anew who is on the network."""
        self._follower.look_now()

    def heard(self, peer: str) -> None:
        """The peer of that id has asked us something, so it is up."""
        host = self._hosts.get(peer)
        if host and host.session is None:
            host.busy = False  # a lookup under way may have come too early, and would wait for its end
            self._return_to(host)

    def sessions(self) -> int:
        """How many hosts have a session with us."""
        return sum(host.session is not None for host in self._hosts.values())

    def descriptors(self) -> list[int]:
        """The numbers of the sockets that stay open for longer than a lookup."""
        numbers = [host.session.fileno() for host in self._hosts.values() if host.session]
        numbers += self._prober.descriptors() if self._prober else ()
        return [number for number in numbers if number >= 0]

    def _stands(self) -> Iterator[Stood]:
        memory, now = self._directory.memory, clock.now()
        if self._own and self._snapshot and self._snapshot.me:
            yield Stood.of(State.REGISTRY, self._snapshot.me)
        for key, host in self._hosts.items():
            # Two that took each other for programs of their own would have news of each other without end.
            serial = None if host.copy.is_mirror else host.copy.serial
            if not host.heard:
                yield Stood.of(State.UNHEARD, host.peer)
            elif memory.silent(key, now):
                yield Stood.of(State.SILENT, host.peer, serial)
            elif memory.standing(key, now) is Standing.REGISTRY:
                yield Stood.of(State.REGISTRY, host.peer, serial)

    def own_changed(self) -> None:
        """What our own host offers is another by now: `own` gives it."""
        me = self._snapshot.me if self._snapshot else None
        if self._own and me and me.asked:
            self._directory.answered(me, self._own(), clock.now())
            self._publish_soon()

    # The network

    async def _seen(self, snapshot: Snapshot, lost_for: float) -> None:
        self._snapshot, now = snapshot, self._now()
        self._directory.network(snapshot, with_own_host=True)
        peers = {peer.id: peer for peer in self._directory.peers}
        me = snapshot.me.id if snapshot.me else ""
        if self._own:
            peers.pop(me, None)
        for key, host in list(self._hosts.items()):
            if key not in peers or not host.peer.is_same_node(peers[key]):
                del self._hosts[key]
                self._end(host)
            else:
                host.peer = peers[key]
        for key, peer in peers.items():
            if key not in self._hosts:
                self._hosts[key] = Watched(peer, self._settings.apex, now)
        own = [snapshot.me] if self._own and snapshot.me else []
        self._census = census((*own, *(host.peer for host in self._hosts.values())))
        self._pace = max(1.0, len(self._hosts) / UNHURRIED)
        self._places = {(host.peer.route[0], host.peer.port): host for host in self._hosts.values()}
        self._attachment.network(self._hosts.get(me), self._census, now)
        self.own_changed()
        if self._attachment.complete:
            self._relayed()
        if self._left_alone:
            for host in self._hosts.values():
                if host.left_until > now:
                    self._left_alone(host.peer)
        self._kicked.set()
        self._publish_soon()

    def _tick(self) -> bool:
        if away := self._turns.away(clock.now()):
            self._directory.slept(away, clock.now())
            now = self._now()
            for host in self._hosts.values():  # whom we could not hear while we were away
                host.unanswered, host.probing, host.next, host.left_until = 0, False, now, now
                host.heard = False
            self._kicked.set()
            self._publish_soon()
        if self._latest and self._latest.silent:
            self._publish_soon()  # who is gone by now is silent no more
        return bool(away)

    # Asking

    async def _ask_around(self) -> None:
        while True:
            self._kicked.clear()
            now = self._now()
            asked_from = self._attachment.asked_from
            due, again = [], now + EVERY
            for host in self._attachment.among(self._hosts):
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
            wait = max(0.01, again - self._now())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._kicked.wait()

    async def _poll(self, hosts: list[Watched]) -> None:
        """Looks up what these offer."""
        directory, now, begun = self._directory, clock.now(), self._now()
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
                host.busy, host.next = False, max(self._now(), begun + EVERY * self._pace)
        if clock.now() <= lookup.deadline + clock.AWAY:
            self._room = self._most_sessions - self.sessions()
            for ask in lookup.asks:
                if self._attachment.asks(by_peer[ask.peer.id], self._now()):
                    self._polled(by_peer[ask.peer.id], ask, now)
        self._kicked.set()
        self._publish_soon()

    def _polled(self, host: Watched, ask: Ask, since: float) -> None:
        if self._hosts.get(host.peer.id) is not host:
            return
        host.polled, now = True, self._now()
        if host.told_at >= since:  # while we waited for others, it has said something newer
            host.next = now
            return
        if ask.outcome is Outcome.ANSWERED:
            host.unanswered, host.pause, host.spoke, host.heard, host.heard_at = 0, 0.0, True, True, now
            learn(self._directory, ask, self._network, clock.now())
            if ask.message is None or ask.listed is Outcome.ANSWERED:
                self._without(host)
                return  # it does not speak DNS
            if self._room <= 0:
                self._without(host)
                return
            if now >= host.session_from:
                self._room -= 1
                self._begin(host)
            else:
                host.next = min(host.next, host.session_from)
        elif ask.outcome is Outcome.REFUSED:
            learn(self._directory, ask, self._network, clock.now())
            self._refused(host)
        else:
            if ask.outcome is Outcome.SILENT:
                learn(self._directory, ask, self._network, clock.now())
            self._missed(host)
            if host.unanswered > MOST_UNANSWERED:
                self._leave(host, min(max(EVERY * self._pace, 1.5 * host.pause), AWAY_AT_MOST * self._pace))

    def _refused(self, host: Watched) -> None:
        host.unanswered, host.copy, host.heard, host.heard_at = 0, MirrorCopy(self._settings.apex), True, self._now()
        self._without(host)
        self._leave(host, min(max(REFUSED_FIRST, 2 * host.pause), REFUSED_AT_MOST * self._pace))

    def _leave(self, host: Watched, pause: float) -> None:
        now = self._now()
        host.pause, host.left_until = pause, now + pause
        if self._left_alone:
            self._left_alone(host.peer)
        host.next = min(host.left_until, now + EVERY * self._pace)

    def _return_to(self, host: Watched) -> None:
        host.next = host.left_until = self._now()
        self._kicked.set()

    def _knock(self, host: Watched, now: float) -> None:
        host.next = min(host.left_until, now + EVERY * self._pace)
        if self._prober:
            self._prober.ask(host.peer.route[0], host.peer.port)

    def _missed(self, host: Watched) -> None:
        host.unanswered += 1
        if host.unanswered == MOST_UNANSWERED:
            host.copy, host.heard, host.heard_at = MirrorCopy(self._settings.apex), True, self._now()
            if host.spoke:
                self._directory.vanished(host.peer, clock.now())
            self._publish_soon()
            self._end(host)
            self._without(host)

    # Sessions

    def _begin(self, host: Watched) -> None:
        peer, own = host.peer, self._attachment.is_own(host)

        def changed() -> None:
            if self._hosts.get(peer.id) is host:
                self._told(host)

        if self._snapshot and self._snapshot.me and peer.id == self._snapshot.me.id:
            # Another mirror has steps of its own. While it is followed there may be more hosts.
            host.copy = MirrorCopy(self._settings.apex, max(LEAST_HOSTS, 2 * len(self._hosts)))
        session = Subscriber(peer.route, peer.port, host.copy, self._settings.apex, changed, own=own)
        host.session, host.probing = session, False
        host.task = self._spawn(self._follow(host, session))

    async def _follow(self, host: Watched, session: Subscriber) -> None:
        begun = self._now()
        stay_away = 0.0
        try:
            await session.run()
        except BadMessage as error:
            _log.warning("%s broke the protocol: %s", host.peer.shown, error, extra={"event": "nonsense"})
            stay_away = NONSENSE_FOR
        except OSError as error:
            _log.debug("no session with %s: %s", host.peer.shown, error)
        except Exception:  # a fault of ours that one host brings about must not cost us the others
            _log.exception("the session with %s ended by a fault", host.peer.shown)
            stay_away = NONSENSE_FOR
        finally:
            if host.session is session:
                host.session = host.task = None
        now = self._now()
        if self._attachment.is_own(host):
            if self._attachment.complete and session.refused is None and not stay_away:
                self._attachment.lost(self._hosts.values(), now)
            else:
                self._without(host)
        stay_away = stay_away if session.refused is None else session.refused
        if now - begun > SESSION_PROVEN:
            host.session_pause = SESSION_AGAIN
        host.session_from = now + max(stay_away, host.session_pause)
        host.session_pause = min(2 * host.session_pause, SESSION_AGAIN_AT_MOST)
        knocks = session.connected and session.refused is None and not stay_away and not self._attachment.is_own(host)
        # Whatever ended it, what the host says now counts.
        host.left_until, host.next = now, now + SESSION_ENDED + (KNOCK_WITHIN if knocks else 0.0)
        self._kicked.set()
        if knocks:
            await self._knock_by_tcp(host, now)

    async def _knock_by_tcp(self, host: Watched, since: float) -> None:
        """One that had TCP has it while it lives."""
        await asyncio.sleep(SESSION_ENDED)
        refused = await nobody_answers(host.peer.route, host.peer.port, self._settings.apex)
        if self._hosts.get(host.peer.id) is not host or host.heard_at >= since:
            return
        if refused:
            self._directory.refused(host.peer, clock.now())
            self._refused(host)
            self._publish_soon()
        else:
            host.next = min(host.next, self._now())
            self._kicked.set()

    def _end(self, host: Watched) -> None:
        host.session = None
        if host.task:
            host.task.cancel()
            host.task = None

    def _told(self, host: Watched) -> None:
        """A host's zone is another by now."""
        if self._attachment.is_own(host):
            if host.copy.is_mirror:
                self._relayed()
                return
            self._without(host)
        host.heard, host.heard_at = True, self._now()
        now, rtt = clock.now(), self._directory.memory.rtt(host.peer.id)
        host.told_at = now
        rtt_ms = None if rtt is None else round(rtt * 1000, 2)
        if host.copy.is_mirror:  # it took us for a program of its own: it is believed of itself alone
            mine = host.words.by_peer(host.copy.told(), {host.peer.id: host.peer}, self._network)
            services = mine.get(host.peer.id, ())
        else:
            services = host.words.of_one(host.copy.told(), host.peer, self._network, rtt_ms)
        self._directory.answered(host.peer, services, now, rtt=rtt)
        self._publish_soon()

    def _relayed(self) -> None:
        """The mirror of our own host's holder has something new, or we know of other peers."""
        attachment, before = self._attachment, self._attachment.complete
        taken = attachment.told(self._hosts, self._network, self._current, self._now(), clock.now())
        if attachment.complete and not before:
            _log.debug("everything comes from this host's holder")
        if taken and attachment.moved:
            now = self._now()
            for host in self._hosts.values():
                if not attachment.asks(host, now) and (host.session or host.copy.serial is not None):
                    self._end(host)
                    host.copy, host.probing = MirrorCopy(self._settings.apex), False
            self._kicked.set()
        if taken:
            self._publish_soon()

    def _without(self, host: Watched) -> None:
        """A host has no mirror for us. Where it is our own, everybody is asked by ourselves."""
        if self._attachment.is_own(host) and self._attachment.none(self._hosts.values()):
            _log.debug("every host is asked, as this one has no mirror")
            # Of whoever answered here all other hosts are told at this moment: who has work for them comes after that.
            pause = YIELD if self._current else 0.0
            for number, each in enumerate(self._hosts.values()):
                if each is not host:
                    each.next = self._now() + pause * (1 + number / len(self._hosts))
            self._kicked.set()

    def _probe(self, host: Watched, now: float) -> None:
        if host.probing:
            self._missed(host)
            if host.session is None:
                return
        relays = self._attachment.complete and self._attachment.is_own(host)
        every = OWN_EVERY if relays else EVERY
        beat = every / BEATS
        host.probing, host.next = True, now + every - (now - self._begun) % beat
        if self._prober:
            self._prober.ask(host.peer.route[0], host.peer.port)

    def _probed(self, address: str, port: int, serial: int) -> None:
        host = self._places.get((address, port))
        if not host:
            return
        if host.session is None and host.left_until > self._now():
            self._return_to(host)
        elif host.probing:
            host.probing, host.unanswered = False, 0
            if not host.heard and (serial == host.copy.serial or host.copy.is_mirror):
                host.heard = True
                self._publish_soon()
            self._directory.memory.answered(host.peer.id, clock.now(), None)
            own = self._attachment.is_own(host)
            # A mirror's serials are its own, so it is asked each time; but the first answer may be long in the making.
            if host.session and not (own and host.copy.serial is None) and host.session.told(serial):
                asyncio.get_running_loop().call_later(AGAIN_SOON, self._probe_again, host, host.session)
            if own and host.copy.is_mirror and (self._attachment.waits or not self._attachment.complete):
                self._relayed()

    def _probe_again(self, host: Watched, session: Subscriber) -> None:
        if host.session is session and session.waits and not host.probing:
            self._probe(host, self._now())

    # Telling

    def _publish_soon(self) -> None:
        if not self._publishing:
            self._publishing = True
            asyncio.get_running_loop().call_at(self._publish_from, self._publish_now)

    def _publish_now(self) -> None:
        begun = clock.spent()
        self.publish()
        self._publish_from = self._now() + SHARE * (clock.spent() - begun)

    def publish(self) -> None:
        """Tells those who look on what is new, at once."""
        self._publishing = False
        if self._snapshot is None:
            return
        directory, now = self._directory, clock.now()
        whole = self._attachment.whole or all(host.polled for host in self._hosts.values())
        first = not self._current and whole
        silent, before = directory.silent(now), self._latest
        stood = tuple(self._stands()) if self._own else ()
        version = directory.version, silent, self._census, stood
        if before and not first and version == self._version:
            return
        self.stood, self.census = stood, self._census
        self._version, self._current = version, self._current or first
        self._latest = View.of(directory, self._snapshot, now)
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
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) and self._failure is None:
            _log.error("watching has ended by a fault", exc_info=error)
            self._failure, self.view = error, None
            for other in self._tasks:
                other.cancel()
            self._end_all(error)

    def _end_all(self, error: BaseException | None) -> None:
        watching, self._watching = self._watching, {}
        for each in watching.values():
            each.ended(error)
