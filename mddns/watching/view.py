"""The state of a watched network at one moment, and its subscribers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from ..base.model import Service, Snapshot, fold
from ..directory.directory import Directory
from ..lookup.query import Found, Query


class View(NamedTuple):
    """The state of a network at one moment. It never changes, so threads may share it.

    `services` are all services, `by_name` the same by folded name, `silent` the names of the registries that owe an
    answer, and `asked` is the number of peers that are queried.
    """

    services: tuple[Service, ...]
    by_name: Mapping[str, tuple[Service, ...]]
    silent: tuple[str, ...]
    asked: int
    snapshot: Snapshot | None

    @classmethod
    def of(cls, directory: Directory, snapshot: Snapshot | None, now: float) -> View:
        """Returns the view of what `directory` knows at `now`."""
        services = tuple(directory.services(now))
        groups: dict[str, list[Service]] = {}
        folded: dict[str, str] = {}  # by name, as many services often share one name
        for service in services:
            name = service.name
            groups.setdefault(folded.get(name) or folded.setdefault(name, fold(name)), []).append(service)
        by_name = {name: tuple(group) for name, group in groups.items()}
        return cls(services, by_name, directory.silent(now), directory.count(now), snapshot)

    def find(self, query: Query) -> Found:
        """Returns what a lookup of `query` would find."""
        services = self.services if query.key is None else self.by_name.get(query.key, ())
        return Found(services, self.silent, self.asked, self.asked).matching(query.labels)


class Watching(NamedTuple):
    """The callbacks of one subscriber of a watcher."""

    told: Callable[[View, bool], None]  # called with each new view; True once the network was known as a whole
    ended: Callable[[BaseException | None], None]  # called at the end; None if the watcher was closed
