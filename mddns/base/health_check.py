"""Health checks, and how a user writes them: ``tcp``, a path, or a mapping.

check: tcp                    # the service's address accepts connections
check: /healthz               # GET gets a response with 2xx
check:
  http: /healthz              # this, or tcp: true
  status: 200                 # instead of any 2xx
  text: "ok"                  # text in the body's first 64 KiB
  port: 9090                  # instead of the service's own
  interval: 2s                # between two checks
  timeout: 1s                 # of one check
  up: 1                       # checks that pass in a row before the service is offered
  down: 2                     # checks that fail in a row before it is held back
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from .errors import InvalidService
from .validation import check_port

INTERVAL: Final = 2.0  # seconds; with two failures, as in flynn's discoverd
TIMEOUT: Final = 1.0
UP: Final = 1
DOWN: Final = 2
SHORTEST_INTERVAL: Final = 0.1
LONGEST_INTERVAL: Final = 3600.0
MOST_IN_A_ROW: Final = 100
CHECK_KEYS: Final = ("http", "tcp", "status", "text", "port", "interval", "timeout", "up", "down")

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "": 1.0}


class Check(NamedTuple):
    """A health check. ``path`` None: a TCP connection is enough. ``status`` None: any 2xx. Times are seconds."""

    path: str | None = None
    status: int | None = None
    text: str = ""
    port: int | None = None
    interval: float = INTERVAL
    timeout: float = TIMEOUT
    up: int = UP
    down: int = DOWN

    @classmethod
    def of(cls, told: Check | str | Mapping[str, object]) -> Check:
        """Returns the Check for `told`, as a user writes it. Raises InvalidService, which names what is wrong."""
        if isinstance(told, Check):
            told = {key: value for key, value in _worded(told).items() if value is not None}
        if isinstance(told, str):
            told = {"tcp": True} if told == "tcp" else {"http": told}
        if not isinstance(told, Mapping):
            raise InvalidService(f"check {told!r}: must be 'tcp', a path such as '/healthz', or a mapping")
        for key in told:
            if key not in CHECK_KEYS:
                raise InvalidService(f"check: unknown key {key!r}; known are {', '.join(CHECK_KEYS)}")
        read = {key: _READ[key](value) for key, value in told.items() if key not in ("tcp", "http")}
        over_tcp = "tcp" in told and _truth(told["tcp"])
        if over_tcp == ("http" in told):
            raise InvalidService("check: must have either 'tcp: true' or 'http: /path'")
        path = _path(told["http"]) if "http" in told else None
        if path is None and (wrong := next((key for key in ("status", "text") if key in told), None)):
            raise InvalidService(f"check: {wrong!r} is only allowed with 'http: /path'")
        return cls(path, **read)

    def shown(self) -> str:
        """``tcp`` or ``GET /healthz``, for messages."""
        return "tcp" if self.path is None else f"GET {self.path}"


def _worded(check: Check) -> dict[str, object]:
    words = check._asdict()
    path = words.pop("path")
    words["text"] = words["text"] or None
    return {"tcp": True, **words} if path is None else {"http": path, **words}


def _path(value: object) -> str:
    # Printable ASCII without spaces is all that a request line can hold (RFC 9112 3).
    if not isinstance(value, str) or not re.fullmatch(r"/[!-~]{0,1023}", value):
        raise InvalidService(f"check {value!r}: must be 'tcp', or a path that begins with '/', as in '/healthz'")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= 1024:
        raise InvalidService(f"check: text {value!r}: must have 1 to 1024 characters")
    return value


def _truth(value: object) -> bool:
    if value in (True, "true", "yes", "on"):
        return True
    raise InvalidService(f"check: tcp {value!r}: must be 'true'; to check another port, add 'port:'")


def _count(field: str, least: int, most: int) -> Any:
    def read(value: object) -> int:
        number = int(value) if isinstance(value, str) and re.fullmatch("[0-9]{1,9}", value) else value
        if isinstance(number, bool) or not isinstance(number, int) or not least <= number <= most:
            raise InvalidService(f"check: {field} {value!r}: must be a whole number from {least} to {most}")
        return number

    return read


def _port(value: object) -> int:
    number = int(value) if isinstance(value, str) and re.fullmatch("[0-9]{1,9}", value) else value
    try:
        return check_port(number)  # type: ignore[arg-type]
    except InvalidService as error:
        raise InvalidService(f"check: {error}") from None


def _seconds(field: str) -> Any:
    def read(value: object) -> float:
        found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?(ms|s|m|)", value) if isinstance(value, str) else None
        seconds = float(found[1]) * _UNITS[found[2]] if found else value
        good = isinstance(seconds, int | float) and not isinstance(seconds, bool)
        if not good or not SHORTEST_INTERVAL <= seconds <= LONGEST_INTERVAL:  # type: ignore[operator]
            raise InvalidService(f"check: {field} {value!r}: must be from 100ms to 60m, as in 2s")
        return float(seconds)  # type: ignore[arg-type]

    return read


_READ: Final[dict[str, Any]] = {
    "status": _count("status", 100, 599),
    "text": _text,
    "port": _port,
    "interval": _seconds("interval"),
    "timeout": _seconds("timeout"),
    "up": _count("up", 1, MOST_IN_A_ROW),
    "down": _count("down", 1, MOST_IN_A_ROW),
}
