"""``md watch``: services as they come, change and go."""

from __future__ import annotations

import json
import sys

import click

from ..changes import Event
from ..inquiry import Query
from ..model import Service
from ..resolver import Resolver, in_order
from .finding import complete_word, described
from .formats import as_json, labels_text, table_lines
from .live import Screen
from .options import Options, common, split_name
from .terminal import clean, is_terminal, talk

_FRAME = 0.05  # seconds in which several changes of a table are one


@click.command("watch")
@click.argument("words", metavar="[NAME] [KEY=VALUE]...", nargs=-1, shell_complete=complete_word)
@common
def command(words: tuple[str, ...], options: Options) -> int:
    """Show services as they come, change and go, until Ctrl-C.

    A terminal gets a table that lives. A pipe gets a line for each event, or with -o jsonl an object: up, update,
    down, leader, and current when all that there is was told.

    \b
    Examples:
      md watch web
      md watch env=prod -o jsonl
    """
    output = options.choose(("table", "jsonl"), unasked="table" if is_terminal() else "")
    query = Query.of(*split_name(words))
    try:
        with Resolver.of_settings(options.settings) as resolver, resolver.watch(query.name, query.labels) as events:
            if output == "table":
                _show(query, events.next)
            for event in events:
                click.echo(json.dumps(_as_json(event)) if output else _line(event))
                sys.stdout.flush()
    except KeyboardInterrupt:
        pass  # how it is meant to end
    return 0
