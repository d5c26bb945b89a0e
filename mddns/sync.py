"""The Registry for blocking programs: a :class:`~mddns.node.Node` that runs in one background thread."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from .system.loop_thread import Background  # first: it loads asyncio without TLS

# isort: split
from .base.errors import Error, InvalidService
from .base.health_check import Check
from .base.model import DEFAULT_PRIORITY, DEFAULT_WEIGHT, Service
from .base.offer import Offer, make, parse_address
from .base.policy import Policy
from .networks import Network
from .networks.settings import Settings
from .node import Node, open_node
from .registry.file_changes import Difference
from .registry.registry import Registration

if TYPE_CHECKING:
    from .files.serial_file import Serials

T = TypeVar("T")


class Advertised:
    """A handle of an advertised service, to change or withdraw it."""

    def __init__(self, registry: Registry, registration: Registration) -> None:
        self._registry = registry
        self._registration = registration

    @property
    def service(self) -> Service:
        """The service as clients find it."""
        return self._registry._run(lambda node: node.registry.service(self._registration))

    def update(self, labels: Mapping[str, str]) -> None:
        """Replaces the labels in place: clients find the service all the time.

        KeyError if it was withdrawn, InvalidService for labels that no service can have.
        """
        self._registry._run(lambda node: node.relabel(self._registration, labels))

    def withdraw(self) -> None:
        """Withdraws the service. Calling it twice is harmless."""
        self._registry._run(lambda node: node.withdraw(self._registration))


class Registry:
    """The services that this program offers. Create it with :func:`start_registry`, end it with :meth:`close`.

    Every method but `close` raises Error if the registry is closed, or if it belongs to the parent of a fork.
    """

    def __init__(
        self,
        settings: Settings,
        policy: Policy | None = None,
        wait: float = 0.0,
        serials: Serials | None = None,
    ) -> None:
        self._background = Background("mddns")
        self._closing = threading.Lock()
        self._node: Node | None = None
        try:
            self._node = self._background.call(open_node(settings, policy or Policy(), wait, serials))
        except BaseException:
            self._background.stop()
            raise
        atexit.register(self.close)

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
        """Offers the service on `port` of this machine, under `name`, to the whole network.

        Advertising the same name, port and protocol again updates the service in place. `protocol` is "tcp" or "udp";
        `priority` and `weight` are those of SRV records (RFC 2782). `addresses` replaces the addresses that would be
        published. `srv` are aliases, such as ``"etcd-client"``. With a `check` (``"tcp"``, ``"/healthz"``, or a
        :class:`Check`), the service is offered only while the check passes. Raises InvalidService for a name, label or
        number that cannot be offered; then nothing has changed.
        """
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
        """Offers a service of another machine, which runs no registry, at `address`, an ``ip:port``.

        The other arguments and the errors are those of :meth:`advertise_service`.
        """
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
        return Advertised(self, self._run(lambda node: node.advertise(offer)))

    def replace(self, offers: Iterable[Offer]) -> Difference:
        """Replaces all services of this registry by `offers`, in one step, and returns the difference.

        Services that are in both stay available all the time. InvalidService if two offers are the same service; then
        nothing has changed.
        """
        return self._run(lambda node: node.replace(offers))

    def unlist_service(self, port: int) -> None:
        """Withdraws the services that this registry offers on `port` of this machine. KeyError if there are none."""
        self._run(lambda node: node.unlist(port))

    def services(self) -> list[Service]:
        """The services that this registry offers, as clients find them."""
        return self._run(lambda node: node.registry.services())

    def held_back(self) -> list[Service]:
        """The services that are not offered because their check fails; ``held`` of each is the reason."""
        return self._run(lambda node: node.registry.held_back())

    @property
    def is_holder(self) -> bool:
        """Whether this process is the holder: it answers for all registries of this host. False after `close`."""
        node = self._node
        return node is not None and node.role.is_holder

    @property
    def addresses(self) -> tuple[str, ...]:
        """The node's own addresses."""
        return self._run(lambda node: node.me.addresses)

    @property
    def reached_at(self) -> tuple[str, ...]:
        """The addresses on which a program of this machine must listen to be reachable from the network.

        They are `addresses`, or loopback if Tailscale runs in userspace networking mode.
        """
        return self._run(lambda node: node.reached_at)

    @property
    def port(self) -> int:
        """The port on which the registry answers queries."""
        return self._run(lambda node: node.me.port)

    def close(self) -> None:
        """Withdraws all services and stops answering. Returns when all sockets are closed. Twice is harmless."""
        with self._closing:
            node, self._node = self._node, None
            if node is not None and not node.abandoned:
                self._background.call(node.close())
                self._background.stop()
                atexit.unregister(self.close)

    def __enter__(self) -> Registry:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, work: Callable[[Node], T]) -> T:
        """Runs `work` in the node's thread, so that the node needs no locks, and returns its result."""
        node = self._node
        if node is None:
            raise Error("this registry is closed")
        if node.abandoned:
            raise Error("this registry belongs to the parent process: start one in the child, after the fork")

        async def run() -> T:
            done = work(node)
            await node.settled()
            return done

        return self._background.call(run())


def start_registry(
    network: str | Sequence[str] | Network | None = None,
    *,
    domain: str | None = None,
    port: int | None = None,
    address: str | None = None,
    timeout: float | None = None,
    wait: float = 0.0,
    policy: Policy | None = None,
) -> Registry:
    """Starts a registry on this machine's network; it answers queries when this returns.

    `timeout` is the longest duration of its lookups, in seconds. None means: from the environment variable
    (``MDDNS_NETWORK`` and so on), or the default.

    Raises ConfigError for a wrong argument or variable, NetworkError (TailscaleError on a tailnet) if there is no
    network, PortInUse if a program that is not a registry has the port. The last two are retried for `wait` seconds.
    If a registry has the port that this one cannot join (in another container, or stopped), this registry waits until
    the port is free, and logs a warning.
    """
    settings = Settings.of(network, domain=domain, port=port, address=address, timeout=timeout)
    return Registry(settings, policy, wait)
