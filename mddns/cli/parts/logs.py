"""Prints the library's log on stderr: warnings always, changes of state with -v, details with -vv."""

from __future__ import annotations

import logging
from typing import Final

from .terminal import talk

_LEVELS: Final = (logging.WARNING, logging.INFO, logging.DEBUG)


class _Talking(logging.Handler):
    """Prints log records as all other messages: escaped, and in the chosen log format."""

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.exc_info:
            text += ": " + logging.Formatter().formatException(record.exc_info).replace("\n", " | ")
        event = getattr(record, "event", None)
        talk(text, record.levelname.lower(), **({"event": str(event)} if event else {}))


def show_logs(verbose: int) -> None:
    """Prints log records from now on. A second call replaces the first."""
    log = logging.getLogger("mddns")
    for handler in list(log.handlers):
        if isinstance(handler, _Talking):
            log.removeHandler(handler)
    log.addHandler(_Talking())
    log.setLevel(_LEVELS[min(verbose, len(_LEVELS) - 1)])
    log.propagate = False
