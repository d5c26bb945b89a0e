"""The module functions ``mddns.resolve`` and so on, and the one Resolver that they share: the library's only global."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

from .base.model import Endpoint, Service, Services
from .resolver import Resolver

if TYPE_CHECKING:
    from .sync_watch import Watch

_lock = threading.Lock()
_resolver: Resolver | None = None


def _default() -> Resolver:
    global _resolver
    with _lock:
        if _resolver is None:
            _resolver = Resolver()
        return _resolver


def resolve(name: str, labels: Mapping[str, str] | None = None) -> Services:
    """All services of this name that have at least these labels, best first; an empty list if there are none.

    ``.silent`` of the list names the registries that did not answer in time; ``.complete`` is true if all answered.
    Raises NetworkError (TailscaleError on a tailnet) if the network cannot be read, and InvalidService if no service
    can have this name.
    """
    return _default().resolve(name, labels)


def find_service(name: str, labels: Mapping[str, str] | None = None) -> Endpoint | None:
    """One endpoint of a service, from the first match; None if no service matches. Raises as :func:`resolve`.

    An Endpoint is a str such as ``"100.64.0.2:8080"``, with ``.address`` (str) and ``.port`` (int).
    """
    return _default().find_service(name, labels)


def list_services() -> Services:
    """All services of the network, sorted by name, host and endpoint. Raises NetworkError if it cannot be read."""
    return _default().list_services()


def leader(name: str, labels: Mapping[str, str] | None = None) -> Service | None:
    """The leader among the services of this name that have at least these labels; None if there are none.

    All clients that see the same services see the same leader. This is not a consensus: while the network is split,
    each part has a leader. Raises as :func:`resolve`.
    """
    return _default().leader(name, labels)


def watch(name: str | None = None, labels: Mapping[str, str] | None = None) -> Watch:
    """An iterator over the events (:class:`Event`) of services of this name that have at least these labels.

    Without a name: of all services. Use it in a ``with`` block, or in a ``for`` loop alone. The event ``current``
    comes once, after the events of all services that existed at the beginning. At the beginning it raises NetworkError
    if the network cannot be read.
    """
    return _default().watch(name, labels)


def close() -> None:
    """Closes the shared Resolver. The next call of a function of this module creates a new one."""
    global _resolver
    with _lock:
        if _resolver is not None:
            _resolver.close()
        _resolver = None


def _forget_after_fork() -> None:
    global _lock, _resolver
    _lock, _resolver = threading.Lock(), None


os.register_at_fork(after_in_child=_forget_after_fork)
atexit.register(close)
