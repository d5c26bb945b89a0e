"""A table on a terminal that is redrawn in place whenever it changes."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable
from typing import Final

import click

from ...base.model import Service
from ...lookup.query import Query
from ...resolver import in_order
from ...sync_watch import Watch
from .formats import in_format, older_in
from .one_lookup import described
from .options import Options
from .table import shortened
from .terminal import clean

_FRAME: Final = 0.05  # seconds in which several changes are drawn together
_OLDER_EVERY: Final = 1.0  # minimum seconds between two drawings when only ages have changed


def show(events: Watch, query: Query, options: Options, output: str) -> None:
    """Shows the current services as ``table`` or ``wide``. Returns when the watch is closed."""
    standing: dict[tuple[str, str, str], Service] = {}
    drawn: list[str] = []
    current, patience = False, None
    while (event := events.next(patience)) or not events.closed:
        until = time.monotonic() + _FRAME
        while event:
            current = current or event.kind == "current"
            if event.service and event.kind == "down":
                standing.pop(event.service.key, None)
            elif event.service and event.kind != "leader":
                standing[event.service.key] = event.service
            event = events.next(max(0.0, until - time.monotonic()))
        if standing or current:
            now = time.time()
            lines, shown = _table(standing.values(), query, options, output, now)
            if lines != drawn:
                back = f"\x1b[{len(drawn)}A\r\x1b[J" if drawn else ""
                click.echo(back + "\n".join(lines), color=True)
                drawn = lines
            patience = _until_older(shown, now) if output == "wide" else None


def _table(
    services: Iterable[Service], query: Query, options: Options, output: str, now: float
) -> tuple[list[str], list[Service]]:
    """Returns the lines and the services in them. Each line fits one screen row, or the next redraw would miss."""
    # Ask the terminal itself: exported COLUMNS and LINES become stale.
    columns, rows = os.get_terminal_size(sys.stdout.fileno())
    columns, rows = columns or 80, rows or 24
    # Rows that scrolled off the top cannot be redrawn, and the cursor needs a row of its own.
    most, shown, more = max(0, rows - 2), in_order(services), ""
    if len(shown) > most:
        room = max(0, most - 1)
        shown, more = shown[:room], f"and {len(shown) - room} more"
    lines = [*in_format(output, shown, options.settings.apex, now, columns)]
    if not shown and not more:
        more = f"no service {clean(described(query))} yet; Ctrl-C to stop"
    return [*lines, *([shortened(more, columns)] if more else ())], shown


def _until_older(services: Iterable[Service], now: float) -> float | None:
    """Returns the seconds until an age in the table changes; None if there is no age."""
    ages = [now - service.since / 1000 for service in services if service.since is not None]
    return max(_OLDER_EVERY, min(map(older_in, ages))) if ages else None
