"""The one Resolver behind ``mddns.resolve`` and its siblings: the library's only global."""

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
    """All services of that name with at least these labels, best first; ``.silent`` and ``.complete`` tell the rest.

    Raises TailscaleError where the network cannot be asked, InvalidService for a name that no service can have.
    """
    return _default().resolve(name, labels)


def find_service(name: str, labels: Mapping[str, str] | None = None) -> Endpoint | None:
    """One endpoint, a str such as ``"100.64.0.2:8080"`` with ``.address`` and ``.port``; None where there is none."""
    return _default().find_service(name, labels)


def list_services() -> Services:
    """Every service of the network."""
    return _default().list_services()


def leader(name: str, labels: Mapping[str, str] | None = None) -> Service | None:
    """The service that leads among those of that name with at least these labels; None where there is none.

    All who see the same services see the same leader. That is no consensus: while the network is split, each part
    has one.
    """
    return _default().leader(name, labels)


def watch(name: str | None = None, labels: Mapping[str, str] | None = None) -> Watch:
    """The events of services of that name (None: of any) with at least these labels, as they happen.

    To be used in a ``with`` block, or in a ``for`` loop alone; an :class:`Event` each. The first ``current`` says
    that all who count have been heard. Raises NetworkError, where it begins, if the network cannot be read.
    """
    return _default().watch(name, labels)


def close() -> None:
    """Ends the shared Resolver; the next call makes a new one."""
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
