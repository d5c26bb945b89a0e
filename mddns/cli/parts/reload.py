"""Reads a file of services again, and prints what has changed in it."""

from __future__ import annotations

import os
import time

from ...base.errors import ConfigError, InvalidService
from ...base.names import Name
from ...registry.file_changes import Settling
from ...sync import Registry
from .service_files import Stamp, can_be_read_again, read_offers
from .service_files import stamp as stamp_of
from .service_words import in_words
from .terminal import talk


class Reloader:
    """Keeps `registry` equal to the file at `path`, and prints the changes on stderr.

    A file that is wrong or missing changes nothing; its errors are printed once.
    """

    def __init__(self, path: str, apex: Name, registry: Registry, stamp: Stamp) -> None:
        """`stamp` is the file's stamp from before its first read."""
        self._path = path
        self._apex = apex
        self._registry = registry
        self._settling = Settling(stamp)
        self._faults: tuple[str, ...] = ()

    @property
    def pause(self) -> float:
        """Seconds until the next call of `look`."""
        return self._settling.pause

    def look(self) -> bool:
        """Reads the file if it has changed and is stable now. Returns whether it did."""
        due = self._settling.due(stamp_of(self._path), time.monotonic())
        if due:
            self.reload(asked=False)
        return due

    def reload(self, *, asked: bool) -> None:
        """Reads the file now. If `asked`, it prints the result in any case."""
        path = self._path
        self._settling.taken(stamp_of(path))
        try:
            if os.path.exists(path) and not can_be_read_again(path):
                raise ConfigError(f"{path} is not a regular file any more")  # a pipe would never end
            difference = self._registry.replace(read_offers(path, self._apex).offers)
        except ConfigError as error:
            self._keep(error.problems, asked)
            return
        except InvalidService as error:
            self._keep((str(error),), asked)
            return
        for offer in difference.withdrawn.values():
            talk(f"withdrawn: {in_words(offer)}")
        for before, after in difference.changed.values():
            talk(f"changed: {in_words(after)}, which was: {in_words(before)}")
        for offer in difference.added.values():
            talk(f"added: {in_words(offer)}")
        if not difference and (asked or self._faults):
            talk(f"{path} was read again; nothing has changed")
        self._faults = ()

    def _keep(self, faults: tuple[str, ...], asked: bool) -> None:
        if faults != self._faults or asked:
            for fault in faults:
                talk(fault)
            talk(f"{self._path} has errors, so the services stay unchanged; md reads it again when it changes")
        self._faults = faults
