"""Networks: who we are and who our peers are. One file for each way of knowing.

A network is read (:meth:`Network.read`), blocking for at most `timeout` seconds; inside an event loop,
:meth:`Network.aread` does the same. Both give a :class:`~mddns.base.model.Snapshot` or raise NetworkError. A network
may also have ``changes()``, an async iterator that yields when it may have changed (:class:`DoorBell`); else it is read
every few seconds.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol, runtime_checkable

from ..base.errors import ConfigError
from ..base.model import DEFAULT_PORT, Snapshot


class Network(Protocol):
    """One way of knowing a network's nodes."""

    def read(self, timeout: float) -> Snapshot:
        """The network as it is now."""

    async def aread(self, timeout: float) -> Snapshot:
        """The same, without blocking the running event loop."""


class DoorBell(Network, Protocol):
    """A network that tells when it may have changed."""

    def changes(self) -> AsyncIterator[None]:
        """Yields then; ends, or raises NetworkError, where that cannot be told any more."""


@runtime_checkable
class KnowsCallers(Protocol):
    """A network that tells whether a connection comes from another node, where its source alone does not."""

    async def whois(self, address: str, port: int, timeout: float) -> bool:
        """Whether a connection that seems to come from there is another node's."""


def open_network(specs: Sequence[str] = (), *, port: int = DEFAULT_PORT, address: str | None = None) -> Network:
    """The network that `specs` name: ``tailscale`` (the default) or ``static:…``; several are read as one.

    `port` is where responders answer, `address` overrides our own. ConfigError for an unknown spec.
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
    raise ConfigError(f"network {spec!r}: 'tailscale' or 'static:ADDRESS[:PORT],…' is wanted")
