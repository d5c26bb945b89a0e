"""Merges the services of several peers into one list."""

from __future__ import annotations

from collections.abc import Iterable

from ..base.model import Service, fold


def merge(services: Iterable[Service]) -> list[Service]:
    """Returns the union of `services`, with each service once.

    Of duplicates, it keeps the one that its own node listed, otherwise the one of the first peer by id.
    """
    best: dict[tuple[str, str, str], Service] = {}
    folded: dict[str, str] = {}
    for service in services:
        name = service.name
        # This is `Service.key`, made faster: most services of a large list have the same name.
        key = folded.get(name) or folded.setdefault(name, fold(name)), service.endpoint, service.protocol
        other = best.setdefault(key, service)
        if other is not service and (service.remote, service.via or "") < (other.remote, other.via or ""):
            best[key] = service
    return list(best.values())
