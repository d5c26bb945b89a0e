"""``md list``: lists all services of the network."""

from __future__ import annotations

import click

from ..lookup.query import Query
from ..resolver import in_order
from .parts.one_lookup import complete_word, described, look, tell_held_back, verdict
from .parts.options import Options, common, split_name
from .parts.output import print_services
from .parts.terminal import talk


@click.command("list")
@click.argument("words", metavar="[NAME] [KEY=VALUE]...", nargs=-1, shell_complete=complete_word)
@common
def command(words: tuple[str, ...], options: Options) -> int:
    """List all services, or only those with a name or with labels.

    \b
    Examples:
      md list
      md list env=prod -o json
    """
    query = Query.of(*split_name(words))
    found, resolver = look(query, options)
    print_services(in_order(found.services), options)
    if options.output == "wide":
        tell_held_back(query, resolver)
    if not found.services:
        if query == Query():
            talk("no services; 'md advertise NAME :PORT' offers one")
        else:
            talk(f"no service {described(query)} is advertised")
    return verdict(found, options)
