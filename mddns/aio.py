"""The same functions and classes for programs with an event loop: coroutines, without a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType

from .aio_watch import Shared, Watch
from .base.errors import Error, InvalidService
from .base.health_check import Check
from .base.leader import leader
from .base.model import DEFAULT_PRIORITY, DEFAULT_WEIGHT, Endpoint, Service, Services, Snapshot
from .base.offer import Offer, make, parse_address
from .base.policy import Policy
from .lookup import asyncio_sockets
from .lookup.query import Found, Inquirer, Query
from .networks import Network
from .networks.settings import Settings
from .node import Node, open_node
from .registry.file_changes import Difference
from .registry.registry import Registration
from .resolver import STATUS_EVERY, STATUS_TIMEOUT, listed, preferred
from .system import clock
from .watching.watcher import Watcher


class _Flight:
    """A lookup in progress. Tasks with the same query wait for its result."""

    __slots__ = ("error", "found", "landed")

    def __init__(self) -> None:
        self.landed = asyncio.Event()
        self.found: Found | None = None
        self.error: Error | None = None


class Resolver:
    """As :class:`mddns.Resolver`, on the running event loop."""

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
        self._watching = Shared(lambda: Watcher(settings, policy))
        self._network = settings.network
        self._inquirer = Inquirer(settings.apex, settings.timeout, policy)
        self._strict = strict
        self._flights: dict[object, _Flight] = {}
        self._snapshot: Snapshot | None = None
        self._seen = 0.0
        self._naps = clock.Naps()
        self._closed = False

    async def resolve(self, name: str, labels: Mapping[str, str] | None = None, *, nearest: bool = False) -> Services:
        """As :meth:`mddns.Resolver.resolve`."""
        found = await self.find(Query.of(name, labels))
        return preferred(found, self._snapshot, strict=self._strict, nearest=nearest)

    async def find_service(self, name: str, labels: Mapping[str, str] | None = None) -> Endpoint | None:
        """As :meth:`mddns.Resolver.find_service`."""
        found = await self.find(Query.of(name, labels, first=True))
        services = preferred(found, self._snapshot, strict=self._strict, nearest=False)
        return services[0].endpoint if services else None

    async def leader(self, name: str, labels: Mapping[str, str] | None = None) -> Service | None:
        """As :func:`mddns.leader`."""
        services = await self.resolve(name, labels)
        return leader(services)

    async def list_services(self, name: str | None = None, labels: Mapping[str, str] | None = None) -> Services:
        """As :meth:`mddns.Resolver.list_services`."""
        return listed(await self.find(Query.of(name, labels)), strict=self._strict)

    async def find(self, query: Query) -> Found:
        """As :meth:`mddns.Resolver.find`."""
        if self._closed:
            raise Error("this Resolver is closed")
        if view := self._watching.view:
            self._snapshot = view.snapshot
            return view.find(query)
        key = query.flight
        flight = self._flights.get(key)
        if flight is not None:
            return await self._join(flight, query)
        flight = self._flights[key] = _Flight()
        anew = self._watching.active  # a caller that watches gets no answer from the cache
        try:
            while True:
                snapshot = await self._read_network()
                self._inquirer.slept(self._naps.taken(), clock.now())
                lookup = self._inquirer.begin(query, snapshot, clock.now(), anew=anew)
                if lookup is not None:
                    await asyncio_sockets.run(lookup, clock.now)
                    if clock.now() > lookup.deadline + clock.AWAY:
                        continue  # the machine slept, and missed the responses
                break
            flight.found = self._inquirer.finish(query._replace(labels={}), lookup, clock.now())
            return flight.found.matching(query.labels)
        except Error as error:
            flight.error = error
            raise
        finally:
            del self._flights[key]
            flight.landed.set()

    async def _join(self, flight: _Flight, query: Query) -> Found:
        """Waits for a lookup in progress and returns its result; sends no queries."""
        await flight.landed.wait()
        if flight.error is not None:
            raise flight.error
        if flight.found is None:
            return await self.find(query)  # the task that ran the lookup was cancelled
        return flight.found.matching(query.labels)

    def watch(self, name: str | None = None, labels: Mapping[str, str] | None = None) -> Watch:
        """As :meth:`mddns.Resolver.watch`."""
        if self._closed:
            raise Error("this Resolver is closed")
        return Watch(name, labels, self._watching.start, self._watching.stop)

    async def close(self) -> None:
        """Closes the resolver and all its watches. Apart from watches, nothing is open between lookups."""
        self._closed = True
        await self._watching.close()

    async def __aenter__(self) -> Resolver:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _read_network(self) -> Snapshot:
        now = clock.now()
        if self._snapshot is None or now - self._seen >= STATUS_EVERY:
            snapshot = await self._network.aread(STATUS_TIMEOUT)
            if snapshot != self._snapshot:
                self._snapshot = snapshot
            self._seen = now
        return self._snapshot


class Advertised:
    """As :class:`mddns.Advertised`; its methods do not block."""

    def __init__(self, node: Node, registration: Registration) -> None:
        self._node = node
        self._registration = registration

    @property
    def service(self) -> Service:
        """The service as clients find it."""
        return self._node.registry.service(self._registration)

    def update(self, labels: Mapping[str, str]) -> None:
        """As :meth:`mddns.Advertised.update`."""
        self._node.relabel(self._registration, labels)

    def withdraw(self) -> None:
        """Withdraws the service. Calling it twice is harmless."""
        self._node.withdraw(self._registration)


class Registry:
    """The services that this program offers. Create it with :func:`start_registry`, end it with :meth:`close`."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def advertise_service(
        self,
        port: int,
        name: str,
        labels: Mapping[str, str] | None = None,
        *,
        protocol: str = "tcp",
        priority: int = DEFAULT_PRIORITY,
        weight: int = DEFAULT_WEIGHT,
        addresses: Sequence[str] = (),
        srv: Sequence[str] = (),
        check: Check | str | Mapping[str, object] | None = None,
    ) -> Advertised:
        """As :meth:`mddns.Registry.advertise_service`."""
        offer = make(
            port,
            name,
            labels,
            protocol=protocol,
            priority=priority,
            weight=weight,
            addresses=addresses,
            srv=srv,
            check=check,
        )
        return self.advertise(offer)

    def advertise_remote_service(
        self,
        address: str,
        name: str,
        labels: Mapping[str, str] | None = None,
        *,
        protocol: str = "tcp",
        priority: int = DEFAULT_PRIORITY,
        weight: int = DEFAULT_WEIGHT,
        srv: Sequence[str] = (),
        check: Check | str | Mapping[str, object] | None = None,
    ) -> Advertised:
        """As :meth:`mddns.Registry.advertise_remote_service`."""
        host, port = parse_address(address)
        if host is None:
            raise InvalidService(f"address {address!r}: a remote service must have an ip:port, as in 100.64.0.9:5432")
        offer = make(
            port,
            name,
            labels,
            address=host,
            protocol=protocol,
            priority=priority,
            weight=weight,
            srv=srv,
            check=check,
        )
        return self.advertise(offer)

    def advertise(self, offer: Offer) -> Advertised:
        """Offers a service that a file or the command line describes."""
        return Advertised(self._node, self._node.advertise(offer))

    def replace(self, offers: Iterable[Offer]) -> Difference:
        """As :meth:`mddns.Registry.replace`."""
        return self._node.replace(offers)

    def unlist_service(self, port: int) -> None:
        """Withdraws the services that this registry offers on `port` of this machine. KeyError if there are none."""
        self._node.unlist(port)

    def services(self) -> list[Service]:
        """The services that this registry offers, as clients find them."""
        return self._node.registry.services()

    def held_back(self) -> list[Service]:
        """The services that are not offered because their check fails; ``held`` of each is the reason."""
        return self._node.registry.held_back()

    async def close(self) -> None:
        """Withdraws all services, stops answering, and closes all sockets."""
        await self._node.close()

    async def __aenter__(self) -> Registry:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()


async def start_registry(
    network: str | Sequence[str] | Network | None = None,
    *,
    domain: str | None = None,
    port: int | None = None,
    address: str | None = None,
    timeout: float | None = None,
    wait: float = 0.0,
    policy: Policy | None = None,
) -> Registry:
    """As :func:`mddns.start_registry`, on the running event loop."""
    settings = Settings.of(network, domain=domain, port=port, address=address, timeout=timeout)
    return Registry(await open_node(settings, policy or Policy(), wait))


def watch(
    name: str | None = None,
    labels: Mapping[str, str] | None = None,
    *,
    network: str | Sequence[str] | Network | None = None,
    domain: str | None = None,
    port: int | None = None,
    address: str | None = None,
    timeout: float | None = None,
    policy: Policy | None = None,
) -> Watch:
    """As :func:`mddns.watch`, on the running event loop: an asynchronous iterator and context manager.

    Each call opens its own sessions. The watches of one :class:`Resolver` share their sessions.
    """
    resolver = Resolver(network, domain=domain, port=port, address=address, timeout=timeout, policy=policy)
    return resolver.watch(name, labels)
