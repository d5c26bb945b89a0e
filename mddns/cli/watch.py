"""``md watch``: services as they come, change and go."""

from __future__ import annotations

import json
import os
import sys
import time

import click

from ..changes import Event
from ..inquiry import Query
from ..memory import Memory
from ..model import Service
from ..resolver import Resolver, in_order
from ..sync_watch import Watch
from .finding import complete_word, described
from .formats import as_json, in_format, labels_text
from .options import Options, common, split_name
from .terminal import clean, is_terminal
from .watching import open_when_up

_FRAME = 0.05  # seconds in which several changes of a table are one


@click.command("watch")
@click.argument("words", metavar="[NAME] [KEY=VALUE]...", nargs=-1, shell_complete=complete_word)
@common
def command(words: tuple[str, ...], options: Options) -> int:
    """Show services as they come, change and go, until Ctrl-C.

    A terminal gets a table that lives. A pipe gets a line for each event, or with -o jsonl an object: up, update,
    down, leader, and current when all that is there has been told. Where there is no network yet, it is waited for.

    \b
    Examples:
      md watch web
      md watch env=prod -o jsonl
    """
    output = options.choose(("table", "wide", "jsonl"))
    query = Query.of(*split_name(words))
    try:
        with Resolver.of(options.settings, Memory()) as resolver:
            events = resolver.watch(query.name, query.labels)
            open_when_up(events)
            if output != "jsonl" and is_terminal() and os.environ.get("TERM") != "dumb":
                _show(events, query, options, output)
            for event in events:
                click.echo(_json(event) if output == "jsonl" else _line(event))
    except KeyboardInterrupt:
        pass  # as it is meant to end
    return 0


def _json(event: Event) -> str:
    told = event.to_json()
    if event.service is not None:
        told["service"] = as_json(event.service)
    return json.dumps(told)


def _line(event: Event) -> str:
    service = event.service
    if service is None:
        return event.kind
    where = str(service.endpoint) if service.protocol == "tcp" else f"{service.endpoint}/{service.protocol}"
    cells = (service.name, where, labels_text(service), service.host or "-")
    return "  ".join((f"{event.kind:6}", *(clean(cell) for cell in cells if cell)))


def _show(events: Watch, query: Query, options: Options, output: str) -> None:
    """A table that is drawn anew, in its place, whenever something has changed; returns when the watch is closed."""
    standing: dict[tuple[str, str, str], Service] = {}
    drawn, current = 0, False
    while event := events.next():
        until = time.monotonic() + _FRAME
        while event:
            current = current or event.kind == "current"
            if event.service and event.kind == "down":
                standing.pop(event.service.key, None)
            elif event.service and event.kind != "leader":
                standing[event.service.key] = event.service
            event = events.next(max(0.0, until - time.monotonic()))
        if standing or current:
            lines = _table(in_order(standing.values()), query, options, output)
            back = f"\x1b[{drawn}A\r\x1b[J" if drawn else ""
            click.echo(back + "\n".join(lines), color=True)
            drawn = len(lines)


def _table(services: list[Service], query: Query, options: Options, output: str) -> list[str]:
    lines = [*in_format(output, services, options.settings.apex, time.time())]
    lines = lines or [f"no service {clean(described(query))} yet; Ctrl-C ends it"]
    # What has left the screen above cannot be drawn anew. Of the terminal itself: an exported LINES grows old.
    room = max(2, os.get_terminal_size(sys.stdout.fileno()).lines - 1)
    return lines if len(lines) <= room else [*lines[: room - 1], f"and {len(lines) - room + 1} more"]
