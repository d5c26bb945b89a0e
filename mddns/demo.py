"""Three nodes on 127.0.0.1 with example services: a small network for trying things out."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final, NamedTuple

from .base.errors import PortInUse
from .base.model import DEFAULT_PORT, join_address
from .directory.peer_memory import Memory
from .sync import Registry, start_registry
from .system import clock

_ADDRESS: Final = "127.0.0.1"
_NODES: Final = ("alpha", "bravo", "charlie")
_SERVICES: Final = (
    ("alpha", 8080, "web", {"env": "prod", "region": "eu"}),
    ("bravo", 8081, "web", {"env": "prod", "region": "us"}),
    ("bravo", 8082, "web", {"env": "dev"}),
    ("charlie", 5432, "db", {"engine": "postgres", "role": "primary"}),
)
_TRIES: Final = 50


class Demo(NamedTuple):
    """A running demo: the spec of its network, and the port of each node by name."""

    network: str
    ports: dict[str, int]

    def memory(self) -> Memory:
        """A peer memory in which each node has answered, so that a lookup waits for all of them, even on a slow CPU."""
        memory, now = Memory(), clock.now()
        for port in self.ports.values():
            memory.answered(join_address(_ADDRESS, port), now, None)
        return memory


@contextmanager
def running(domain: str | None = None) -> Iterator[Demo]:
    """Runs the demo until the context ends, on three free ports from 28004 on. PortInUse if there are none."""
    with ExitStack() as stack:
        ports = _free_ports()
        items = [f"{name}={_ADDRESS}:{port}" for name, port in ports.items()]
        registries: dict[str, Registry] = {}
        for name, item in zip(_NODES, items, strict=True):
            # In a static network, the first address that belongs to this machine is the node itself.
            spec = "static:" + ",".join([item, *(other for other in items if other != item)])
            registries[name] = stack.enter_context(start_registry(spec, domain=domain))
        for name, port, service, labels in _SERVICES:
            registries[name].advertise_service(port, service, labels)
        yield Demo("static:" + ",".join(items), ports)


def _free_ports() -> dict[str, int]:
    ports: dict[str, int] = {}
    candidates = iter(range(DEFAULT_PORT, DEFAULT_PORT + _TRIES))
    for name in _NODES:
        ports[name] = next((port for port in candidates if _is_free(port)), 0)
        if not ports[name]:
            raise PortInUse(f"no free ports between {DEFAULT_PORT} and {DEFAULT_PORT + _TRIES} on {_ADDRESS}")
    return ports


def _is_free(port: int) -> bool:
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            if kind is socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((_ADDRESS, port))
            except OSError:
                return False
    return True
