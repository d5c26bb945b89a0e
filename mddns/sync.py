"""Registries for blocking programs: a :class:`~mddns.node.Node` in one background thread."""

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
    """A service that is being offered: a handle to change it or take it back."""

    def __init__(self, registry: Registry, registration: Registration) -> None:
        self._registry = registry
        self._registration = registration

    @property
    def service(self) -> Service:
        """As others find it."""
        return self._registry._run(lambda node: node.registry.service(self._registration))

    def update(self, labels: Mapping[str, str]) -> None:
        """Gives it other labels, in place: it never vanishes. KeyError where it was withdrawn."""
        self._registry._run(lambda node: node.relabel(self._registration, labels))

    def withdraw(self) -> None:
        """Takes it back. Twice does no harm."""
        self._registry._run(lambda node: node.withdraw(self._registration))


class Registry:
    """The services that this program offers. Made by :func:`start_registry`; ends with :meth:`close`."""

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
        """Offers what listens on `port` of this machine, under `name`, to everyone on the network.

        The same name, port and protocol again updates it in place. `srv` are aliases, as ``"etcd-client"``; with a
        `check` (``"tcp"``, ``"/healthz"``, or a :class:`Check`) it is offered only while that passes. Raises
        InvalidService, before anything is offered, where name, labels or numbers cannot be told.
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
        """Offers a service of a machine that cannot do so itself, at ``ip:port``."""
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
        """Offers what a file or the command line describes."""
        return Advertised(self, self._run(lambda node: node.advertise(offer)))

    def replace(self, offers: Iterable[Offer]) -> Difference:
        """Makes `offers` all that this registry offers, in one step; what stays the same never vanishes.

        InvalidService, and nothing is done, where two of them are one service.
        """
        return self._run(lambda node: node.replace(offers))

    def unlist_service(self, port: int) -> None:
        """Takes back what this registry offers on `port` of this machine. KeyError where that is nothing."""
        self._run(lambda node: node.unlist(port))

    def services(self) -> list[Service]:
        """What this registry offers, as others find it."""
        return self._run(lambda node: node.registry.services())

    def held_back(self) -> list[Service]:
        """What this registry would offer, if it passed its check; ``held`` of each says why not."""
        return self._run(lambda node: node.registry.held_back())

    @property
    def is_holder(self) -> bool:
        """Whether this process answers for its host, or another one does for it."""
        node = self._node
        return node is not None and node.role.is_holder

    @property
    def addresses(self) -> tuple[str, ...]:
        """The node's own addresses."""
        return self._run(lambda node: node.me.addresses)

    @property
    def reached_at(self) -> tuple[str, ...]:
        """Where a program of this machine listens to be reached: `addresses`; in userspace networking loopback."""
        return self._run(lambda node: node.reached_at)

    @property
    def port(self) -> int:
        """The port that it answers on."""
        return self._run(lambda node: node.me.port)

    def close(self) -> None:
        """Withdraws everything and stops answering; returns when all sockets are closed. Twice does no harm."""
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
        """Runs `work` in the node's thread, so that the node needs no locks."""
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
    """A registry on this machine's network; it answers queries when this returns.

    Without a network it raises at once (TailscaleError, NetworkError), or after `wait` seconds of trying;
    PortInUse, as soon or as late, where a foreign program has the port. Where it is a registry that cannot let this
    one in (in another container, or stopped), this one stands by, and a warning says so.
    """
    settings = Settings.of(network, domain=domain, port=port, address=address, timeout=timeout)
    return Registry(settings, policy, wait)
