"""Finding services, in blocking code: whoever calls carries the lookup; there is no thread.

Callers in several threads may share one Resolver. Equal questions at one time become one lookup.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Final

from .errors import Error, Incomplete
from .inquiry import Found, Inquirer, Query, by_preference
from .memory import Memory
from .model import Endpoint, Service, Services, Snapshot, fold
from .networks import Network
from .settings import Settings
from .silence import sentence

STATUS_EVERY: Final = 5.0  # seconds for which the network's list of nodes is taken as it was
STATUS_TIMEOUT: Final = 2.0


class Resolver:
    """Finds services on a network. Close it, or use it in a ``with`` statement.

    `network` is a spec such as ``"tailscale"`` or ``"static:100.64.0.1,100.64.0.2"``, or several, or a
    Network; `timeout` seconds that a lookup may take; `strict` makes a silent registry an Incomplete error.
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
    ) -> None:
        self._set_up(Settings.of(network, domain=domain, port=port, address=address, timeout=timeout), strict, None)

    @classmethod
    def of(cls, settings: Settings, memory: Memory) -> Resolver:
        """A Resolver that begins with what is remembered of its peers, and goes on remembering in `memory`."""
        self = cls.__new__(cls)
        self._set_up(settings, False, memory)
        return self

    def _set_up(self, settings: Settings, strict: bool, memory: Memory | None) -> None:
        self._network = settings.network
        self._inquirer = Inquirer(settings.apex, settings.timeout, memory=memory)
        self._strict = strict
        self._lock = threading.Lock()  # guards the inquirer and what stands below
        self._asking: dict[str | None, threading.Lock] = {}
        self._snapshot: Snapshot | None = None
        self._seen = 0.0
        self._closed = False

    def resolve(self, name: str, labels: Mapping[str, str] | None = None, *, nearest: bool = False) -> Services:
        """All services of that name with at least these labels, best first. None of them: an empty list."""
        return self.prefer(self.find(Query.of(name, labels)), nearest=nearest)

    def find_service(self, name: str, labels: Mapping[str, str] | None = None) -> Endpoint | None:
        """One endpoint as ``ip:port``, the first that answers; None where there is none."""
        services = self.prefer(self.find(Query.of(name, labels, first=True)))
        return services[0].endpoint if services else None

    def list_services(self, name: str | None = None, labels: Mapping[str, str] | None = None) -> Services:
        """All services of the network, by name."""
        return listed(self.find(Query.of(name, labels)), strict=self._strict)

    def find(self, query: Query) -> Found:
        """What is known of a query after at most one lookup. Raises NetworkError where the network cannot be read."""
        from .transport import run

        if self._closed:
            raise Error("this Resolver is closed")
        with self._lock:
            asking = self._asking.setdefault(query.key, threading.Lock())
        # Whoever asks the same waits here, and then finds it known.
        with asking:
            snapshot = self._read_network()
            with self._lock:
                lookup = self._inquirer.begin(query, snapshot, time.monotonic())
            if lookup is not None:
                run(lookup, time.monotonic)
            with self._lock:
                self._asking.pop(query.key, None)
                return self._inquirer.finish(query, lookup, time.monotonic())

    def prefer(self, found: Found, *, nearest: bool = False) -> Services:
        """What was found, best first."""
        return preferred(found, self._snapshot, strict=self._strict, nearest=nearest)

    def close(self) -> None:
        """Ends it. Lookups hold their sockets only while they run, so there is nothing to wait for."""
        self._closed = True

    def __enter__(self) -> Resolver:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _read_network(self) -> Snapshot:
        now = time.monotonic()
        if self._snapshot is None or now - self._seen >= STATUS_EVERY:
            snapshot = self._network.read(STATUS_TIMEOUT)
            # The same object stands for the same network.
            if snapshot != self._snapshot:
                self._snapshot = snapshot
            self._seen = now
        return self._snapshot


def preferred(found: Found, snapshot: Snapshot | None, *, strict: bool, nearest: bool) -> Services:
    """What was found as callers get it, best first; Incomplete where that is an error."""
    _check(found, strict)
    own = snapshot.me.addresses if snapshot and snapshot.me else ()
    services = by_preference(found.services, own, random.random, nearest=nearest)
    return Services(services, found.silent, found.asked)


def listed(found: Found, *, strict: bool) -> Services:
    """What was found in the order that people read: by name, host, endpoint."""
    _check(found, strict)
    return Services(in_order(found.services), found.silent, found.asked)


def in_order(services: Iterable[Service]) -> list[Service]:
    """Services by name, host, endpoint."""
    return sorted(services, key=lambda each: (fold(each.name), each.host or "~", str(each.endpoint), each.protocol))


def _check(found: Found, strict: bool) -> None:
    if strict and found.silent:
        raise Incomplete(sentence(found.silent, found.asked), found.silent)
