"""The list of upstreams: from the command line, or from a file that is read again when it changes.

The check for changes happens with a query, at most once a second. Our own addresses are never upstreams.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from ..base.errors import ConfigError
from ..files.resolv_conf import MOST_OCTETS, Place, ResolvConf, read_resolv_conf
from .server_selection import ATTEMPTS, TIMEOUT, Options

_log = logging.getLogger("mddns")

LOOK_EVERY: Final = 1.0
_Stamp = tuple[int, int, int] | None


class Upstreams(NamedTuple):
    """The upstreams and their options."""

    places: tuple[Place, ...]
    options: Options


class UpstreamSource:
    """The `given` upstreams, or those of the file at `path`. The file's options apply in both cases.

    ConfigError if a given upstream is our own address.
    """

    def __init__(self, given: Sequence[Place], path: str | None) -> None:
        self._given = tuple(dict.fromkeys(given))
        self.path = path
        self._own: frozenset[Place] = frozenset()
        self._stamp: _Stamp | str = ""  # no file read yet
        self._looked = float("-inf")
        self._told: tuple[str, ...] = ()
        self._last: Upstreams | None = None

    def listening_at(self, places: Iterable[Place]) -> None:
        """Sets the addresses where we answer."""
        self._own = frozenset(places)
        for place in self._given:
            if place in self._own:
                raise ConfigError(f"upstream {place}: md forward itself answers there; name another server")

    def look(self, now: float, *, again: bool = False) -> Upstreams | None:
        """Returns the upstreams if they have changed, else None. `again` reads the file in any case."""
        if not again and now - self._looked < LOOK_EVERY:
            return None
        self._looked = now
        stamp = self._stat()
        if stamp == self._stamp and not again:
            return None
        self._stamp = stamp
        said = self._read() if self.path else ResolvConf()
        if said is None:
            if self._last is not None:
                return None  # the file is being replaced; keep the last upstreams
            said = ResolvConf()
        upstreams = self._make(said)
        if upstreams == self._last:
            return None
        self._last = upstreams
        return upstreams

    def _stat(self) -> _Stamp:
        try:
            stat = os.stat(self.path) if self.path else None
        except OSError:
            return None
        return (stat.st_mtime_ns, stat.st_ino, stat.st_size) if stat else None

    def _read(self) -> ResolvConf | None:
        assert self.path is not None  # noqa: S101 - asked for by who looked
        try:
            with open(self.path, encoding="utf-8", errors="replace") as file:
                return read_resolv_conf(file.read(MOST_OCTETS).removeprefix("\ufeff"))
        except OSError as error:
            self._tell((f"{self.path} cannot be read: {error.strerror or error}",))
            return None

    def _make(self, said: ResolvConf) -> Upstreams:
        options = Options(
            float(said.timeout) if said.timeout else TIMEOUT, said.attempts or ATTEMPTS, said.rotate, said.use_vc
        )
        if self._given:
            return Upstreams(self._given, options)
        remarks = [f"{self.path}, {remark}" for remark in said.remarks]
        ours = [place for place in said.servers if place in self._own]
        others = tuple(place for place in said.servers if place not in self._own)
        remarks += [f"{self.path} names {place}, where md forward itself answers; ignored" for place in ours]
        if not others:
            remarks.append(
                f"{self.path} names no usable server, so names outside our own zone cannot be answered: "
                "name one with --upstream ADDRESS, or a file with --resolv-conf"
            )
        self._tell(tuple(remarks))
        return Upstreams(others, options)

    def _tell(self, remarks: tuple[str, ...]) -> None:
        for remark in remarks if remarks != self._told else ():
            _log.warning("%s", remark)
        self._told = remarks
