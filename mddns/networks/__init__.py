"""Networks: our own node and its peers. One file for each source of this information.

:meth:`Network.read` blocks for at most `timeout` seconds; :meth:`Network.aread` is the same for an event loop. Both
return a :class:`~mddns.base.model.Snapshot` or raise NetworkError. A network may also have ``changes()``, an async
iterator that yields when the network may have changed (:class:`DoorBell`); else it is read every few seconds.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol, runtime_checkable

from ..base.errors import ConfigError
from ..base.model import DEFAULT_PORT, Snapshot


class Network(Protocol):
    """A source of the nodes of a network."""

    def read(self, timeout: float) -> Snapshot:
        """Returns the current state of the network. Blocks for at most `timeout` seconds."""

    async def aread(self, timeout: float) -> Snapshot:
        """The same, without blocking the running event loop."""


class DoorBell(Network, Protocol):
    """A network that reports when it may have changed."""

    def changes(self) -> AsyncIterator[None]:
        """Yields when the network may have changed; ends, or raises NetworkError, when it cannot report any more."""


@runtime_checkable
class KnowsCallers(Protocol):
    """A network that knows whether a connection comes from another node when its source address does not show it."""

    async def whois(self, address: str, port: int, timeout: float) -> bool:
        """Whether a connection whose source is `address` and `port` comes from another node."""


def open_network(specs: Sequence[str] = (), *, port: int = DEFAULT_PORT, address: str | None = None) -> Network:
    """Opens the network that `specs` name: ``tailscale`` (the default) or ``static:…``. Several are joined into one.

    `port` is the port of the responders, `address` replaces our own addresses. ConfigError for an unknown spec.
    """
    networks = [_open(spec, port) for spec in specs or ("tailscale",)]
    if len(networks) == 1 and address is None:
        return networks[0]
    from .joined import Joined

    return Joined(networks, address, port)


def _open(spec: str, port: int) -> Network:
    kind, _, rest = spec.partition(":")
    if kind == "tailscale" and not rest:
        from .tailscale import Tailscale

        return Tailscale(port)
    if kind == "static":
        from .static import Static

        return Static(rest, port)
    raise ConfigError(f"network {spec!r}: must be 'tailscale' or 'static:ADDRESS[:PORT],…'")
