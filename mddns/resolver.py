"""The Resolver for blocking programs: a lookup runs in the caller's thread; no thread is started.

Several threads may share one Resolver. Equal queries at the same time share one lookup.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Final

from .base.errors import Error, Incomplete
from .base.model import Endpoint, Service, Services, Snapshot, fold
from .base.policy import Policy
from .directory.peer_memory import Memory
from .directory.silence_text import sentence
from .lookup.query import Found, Inquirer, Query, by_preference, held_back
from .networks import Network
from .networks.settings import Settings
from .system import clock

if TYPE_CHECKING:
    from .sync_watch import Shared, Watch

STATUS_EVERY: Final = 5.0  # seconds for which the network's list of nodes is cached
STATUS_TIMEOUT: Final = 2.0  # seconds to read the list


class _Flight:
    """A lookup in progress. Threads with the same query wait for its result."""

    __slots__ = ("error", "found", "landed")

    def __init__(self) -> None:
        self.landed = threading.Event()
        self.found: Found | None = None
        self.error: Error | None = None


class Resolver:
    """Finds services on a network. Close it, or use it in a ``with`` statement.

    `network` is a spec such as ``"tailscale"`` or ``"static:100.64.0.1,100.64.0.2"``, a sequence of specs, or a
    Network. `timeout` is the longest duration of a lookup in seconds. None means: from the environment variable
    (``MDDNS_NETWORK`` and so on), or the default. With `strict`, a lookup raises Incomplete if a registry did not
    answer in time. `policy` says which services are accepted. Raises ConfigError for a wrong argument or variable.

    Lookups raise NetworkError (TailscaleError on a tailnet) if the network cannot be read, and Error after `close`.
    """

    def __init__(
        self,
        network: str | Sequence[str] | Network | None = None,
        *,
        domain: str | None = None,
        port: int | None = None,
        address: str | None = None,
        timeout: float | None = None,
        strict: bool = False,
        policy: Policy | None = None,
    ) -> None:
        settings = Settings.of(network, domain=domain, port=port, address=address, timeout=timeout)
        self._set_up(settings, strict, policy, None)

    @classmethod
    def of(cls, settings: Settings, memory: Memory) -> Resolver:
        """A Resolver that reads and updates `memory`, the record of earlier responses of the peers."""
        self = cls.__new__(cls)
        self._set_up(settings, False, None, memory)
        return self

    def _set_up(self, settings: Settings, strict: bool, policy: Policy | None, memory: Memory | None) -> None:
        self._settings = settings
        self._policy = policy
        self._watching: Shared | None = None
        self._network = settings.network
        self._inquirer = Inquirer(settings.apex, settings.timeout, policy, memory)
        self._strict = strict
        self._lock = threading.Lock()  # guards the inquirer and the attributes below
        self._flights: dict[object, _Flight] = {}
        self._snapshot: Snapshot | None = None
        self._seen = 0.0
        self._naps = clock.Naps()
        self._closed = False

    def resolve(self, name: str, labels: Mapping[str, str] | None = None, *, nearest: bool = False) -> Services:
        """All services of this name that have at least these labels, best first; an empty list if there are none.

        The order is: by priority, then those of this host first, then at random by weight (RFC 2782), or with `nearest`
        by the response time of their peers. InvalidService if no service can have this name.
        """
        return self.prefer(self.find(Query.of(name, labels)), nearest=nearest)

    def find_service(self, name: str, labels: Mapping[str, str] | None = None) -> Endpoint | None:
        """One endpoint of a service, ``ip:port``, from the first match; None if no service matches."""
        services = self.prefer(self.find(Query.of(name, labels, first=True)))
        return services[0].endpoint if services else None

    def leader(self, name: str, labels: Mapping[str, str] | None = None) -> Service | None:
        """As :func:`mddns.leader`."""
        from .base.leader import leader

        found = self.find(Query.of(name, labels))
        _check(found, self._strict)
        return leader(found.services)

    def list_services(self, name: str | None = None, labels: Mapping[str, str] | None = None) -> Services:
        """All services of the network (of this name, with at least these labels), sorted by name, host and endpoint."""
        return listed(self.find(Query.of(name, labels)), strict=self._strict)

    def find(self, query: Query) -> Found:
        """The result of a query, after at most one lookup. NetworkError if the network cannot be read."""
        from .lookup.sockets import run

        if self._closed:
            raise Error("this Resolver is closed")
        if (seen := self.watched(query)) is not None:
            return seen
        key = query.flight
        with self._lock:
            flight = self._flights.get(key)
            if flight is None:
                ours = self._flights[key] = _Flight()
        if flight is not None:
            return self._join(flight, query)
        # A caller that watches gets no answer from the cache, even while the watch is not up to date.
        anew = self._watching is not None and self._watching.active
        try:
            while True:
                snapshot = self._read_network()
                with self._lock:
                    self._inquirer.slept(self._naps.taken(), clock.now())
                    lookup = self._inquirer.begin(query, snapshot, clock.now(), anew=anew)
                if lookup is not None:
                    run(lookup, clock.now)
                    if clock.now() > lookup.deadline + clock.AWAY:
                        continue  # the machine slept, and missed the responses
                break
            with self._lock:
                ours.found = self._inquirer.finish(query._replace(labels={}), lookup, clock.now())
            return ours.found.matching(query.labels)
        except Error as error:
            ours.error = error
            raise
        finally:
            with self._lock:
                del self._flights[key]
            ours.landed.set()

    def watched(self, query: Query) -> Found | None:
        """The result of a query from the data of the watch; None without a watch, or while its data is not complete."""
        view = self._watching.view if self._watching else None
        if view is None:
            return None
        self._snapshot = view.snapshot
        return view.find(query)

    def watch(self, name: str | None = None, labels: Mapping[str, str] | None = None) -> Watch:
        """The events of services of this name that have at least these labels: see :func:`mddns.watch`.

        From the event ``current`` on, while the watch is open, lookups of this Resolver send no queries.
        """
        from .sync_watch import Shared, Watch
        from .watching.watcher import Watcher

        if self._closed:
            raise Error("this Resolver is closed")
        with self._lock:
            if self._watching is None:
                self._watching = Shared(lambda: Watcher(self._settings, self._policy))
        return Watch(name, labels, self._watching)

    def held_back(self) -> list[Service]:
        """Queries the network for services that are not offered because their check fails; ``held`` is the reason."""
        from .lookup.sockets import run

        snapshot = self._read_network()
        with self._lock:
            lookup = self._inquirer.ask_held_back(snapshot, clock.now())
        run(lookup, clock.now)
        return held_back(lookup, snapshot.network)

    def _join(self, flight: _Flight, query: Query) -> Found:
        """Waits for a lookup in progress and returns its result; sends no queries."""
        flight.landed.wait()
        if flight.error is not None:
            raise flight.error
        if flight.found is None:
            return self.find(query)  # the thread that ran the lookup was interrupted
        return flight.found.matching(query.labels)

    def prefer(self, found: Found, *, nearest: bool = False) -> Services:
        """The services of `found`, best first: see :meth:`resolve`. Incomplete if that is an error here."""
        return preferred(found, self._snapshot, strict=self._strict, nearest=nearest)

    @property
    def tun(self) -> bool:
        """Whether other machines can be queried directly: not in userspace networking mode. As of the last lookup."""
        return self._snapshot is None or self._snapshot.tun

    def close(self) -> None:
        """Closes the resolver and all its watches. Lookups have open sockets only while they run."""
        self._closed = True
        if self._watching:
            self._watching.close()

    def __enter__(self) -> Resolver:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _read_network(self) -> Snapshot:
        now = clock.now()
        if self._snapshot is None or now - self._seen >= STATUS_EVERY:
            snapshot = self._network.read(STATUS_TIMEOUT)
            # An equal network keeps the same object, which later code compares by identity.
            if snapshot != self._snapshot:
                self._snapshot = snapshot
            self._seen = now
        return self._snapshot


def preferred(found: Found, snapshot: Snapshot | None, *, strict: bool, nearest: bool) -> Services:
    """The services of `found`, best first. Incomplete if `strict` and a registry did not answer."""
    _check(found, strict)
    if len(found.services) < 2:
        return Services(found.services, found.silent, found.asked)
    import random  # slow to import (hashlib), and mostly there are fewer than two services

    own = snapshot.me.addresses if snapshot and snapshot.me else ()
    services = by_preference(found.services, own, random.random, nearest=nearest)
    return Services(services, found.silent, found.asked)


def listed(found: Found, *, strict: bool) -> Services:
    """The services of `found` by name, host and endpoint. Incomplete if `strict` and a registry did not answer."""
    _check(found, strict)
    return Services(in_order(found.services), found.silent, found.asked)


def in_order(services: Iterable[Service]) -> list[Service]:
    """Services sorted by name, host and endpoint."""
    return sorted(services, key=lambda each: (fold(each.name), each.host or "~", str(each.endpoint), each.protocol))


def _check(found: Found, strict: bool) -> None:
    if strict and found.silent:
        raise Incomplete(sentence(found.silent, found.asked), found.silent)
