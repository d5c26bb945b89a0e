"""``md watch``: shows services as they appear, change and disappear."""

from __future__ import annotations

import json
import os
from typing import Final

import click

from ..directory.peer_memory import Memory
from ..lookup.query import Query
from ..resolver import Resolver
from ..watching.events import Event
from .parts.formats import as_json, labels_text
from .parts.live_table import show
from .parts.one_lookup import complete_word
from .parts.options import Options, common_printing, split_name
from .parts.streams import reader_left
from .parts.terminal import clean, is_terminal
from .parts.watch_when_up import open_when_up

_FORMATS: Final = ("table", "wide", "jsonl")
_READER_EVERY: Final = 1.0  # seconds without an event until the next check whether stdout still has a reader


@click.command("watch")
@click.argument("words", metavar="[NAME] [KEY=VALUE]...", nargs=-1, shell_complete=complete_word)
@common_printing(_FORMATS)
def command(words: tuple[str, ...], options: Options) -> int:
    """Show services as they appear, change and disappear, until Ctrl-C.

    On a terminal, md draws a table and updates it. In a pipe, it prints a line for each event, or an object
    with -o jsonl. The events are up, update, down, leader, and current: all services that exist have been
    printed. If the network is not up yet, md waits for it. The exit code is 0; --strict has no effect.

    \b
    Examples:
      md watch web
      md watch env=prod -o jsonl
    """
    output = options.choose(_FORMATS)
    query = Query.of(*split_name(words))
    try:
        with Resolver.of(options.settings, Memory()) as resolver:
            events = resolver.watch(query.name, query.labels)
            open_when_up(events)
            if output != "jsonl" and is_terminal() and os.environ.get("TERM") != "dumb":
                show(events, query, options, output)
            while (event := events.next(_READER_EVERY)) or not (events.closed or reader_left()):
                if event:
                    click.echo(_json(event) if output == "jsonl" else _line(event))
    except KeyboardInterrupt:
        pass  # the normal end of this command
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
