"""A watched network at one moment, and those who look on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from ..base.model import Service, Snapshot, fold
from ..directory.directory import Directory
from ..lookup.query import Found, Query


class View(NamedTuple):
    """The network as it is known at one moment; it never changes, so that threads may share it."""

    services: tuple[Service, ...]
    by_name: Mapping[str, tuple[Service, ...]]
    silent: tuple[str, ...]
    asked: int
    snapshot: Snapshot | None

    @classmethod
    def of(cls, directory: Directory, snapshot: Snapshot | None, now: float) -> View:
        """What `directory` knows."""
        services = tuple(directory.services(now))
        groups: dict[str, list[Service]] = {}
        folded: dict[str, str] = {}  # very many mostly have one name
        for service in services:
            name = service.name
            groups.setdefault(folded.get(name) or folded.setdefault(name, fold(name)), []).append(service)
        by_name = {name: tuple(group) for name, group in groups.items()}
        return cls(services, by_name, directory.silent(now), directory.count(now), snapshot)

    def find(self, query: Query) -> Found:
        """What a lookup would find."""
        services = self.services if query.key is None else self.by_name.get(query.key, ())
        return Found(services, self.silent, self.asked, self.asked).matching(query.labels)


class Watching(NamedTuple):
    """Somebody who looks on."""

    told: Callable[[View, bool], None]  # with each new view; True where it is whole
    ended: Callable[[BaseException | None], None]  # the watcher was closed, or that befell it
