"""One list of services from what several peers said."""

from __future__ import annotations

from collections.abc import Iterable

from ..base.model import Service, fold


def merge(services: Iterable[Service]) -> list[Service]:
    """The union: of one service told twice, the one that is its own node's word stands, else the first by peer."""
    best: dict[tuple[str, str, str], Service] = {}
    folded: dict[str, str] = {}
    for service in services:
        name = service.name
        # `Service.key`, of very many that mostly have one name.
        key = folded.get(name) or folded.setdefault(name, fold(name)), service.endpoint, service.protocol
        other = best.setdefault(key, service)
        if other is not service and (service.remote, service.via or "") < (other.remote, other.via or ""):
            best[key] = service
    return list(best.values())
