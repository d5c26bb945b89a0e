"""The serials file: the serial of each zone from earlier runs, in a small file in the user's state directory.

A secondary never takes a zone whose serial is less than its own (RFC 1982), so a primary's serial must not go back,
even if the clock was set back between two runs. A file that cannot be read counts as empty, and a failed write is
logged once.
"""

from __future__ import annotations

import logging
import os
from typing import Final

from ..base.names import Name
from ..system.user_file import own_file, read, replace
from ..zone.apex import is_after

_log = logging.getLogger("mddns")

AHEAD: Final = 100  # serials (of 10 ms each) stored in advance, so that there is at most one write a second
_MOST_OCTETS: Final = 64 << 10
_MOST_ZONES: Final = 64


def state_file(*, of_unit: bool = True) -> str | None:
    """``$STATE_DIRECTORY/serials.json`` if systemd has set it, else ``$XDG_STATE_HOME/mddns/serials.json``.

    The latter is below ``~/.local/state`` by default. None if there is no home directory. `of_unit`: the
    systemd unit is our own, so that its state directory may be used.
    """
    if of_unit and (given := os.environ.get("STATE_DIRECTORY", "").partition(":")[0]):
        return os.path.join(given, "serials.json")
    return own_file("XDG_STATE_HOME", os.path.join(".local", "state"), "serials.json")


class Serials:
    """The greatest serial of the zone `apex` that any program of this user may have published."""

    def __init__(self, apex: Name, path: str | None) -> None:
        self._zone = str(apex)
        self._path = path
        self._told = path is None
        self._latest = self.latest()

    def latest(self) -> int | None:
        """A serial that no earlier run has exceeded; None if nothing is stored."""
        return self._read().get(self._zone)

    def given_out(self, serial: int) -> None:
        """Records that `serial` is published, or is about to be."""
        if self._path is None or not (self._latest is None or is_after(serial, self._latest)):
            return
        self._latest = (serial + AHEAD) % 2**32
        zones = self._read()
        before = zones.pop(self._zone, None)
        zones[self._zone] = before if before is not None and is_after(before, self._latest) else self._latest
        for oldest in list(zones)[:-_MOST_ZONES]:
            del zones[oldest]
        try:
            replace(self._path, zones)
        except OSError as error:
            if not self._told:
                self._told = True
                _log.info("cannot save the zone's serial for the next run: %s: %s", self._path, error.strerror)

    def _read(self) -> dict[str, int]:
        kept = read(self._path, _MOST_OCTETS)
        return {zone: serial for zone, serial in kept.items() if _is_serial(serial)}


def _is_serial(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**32
