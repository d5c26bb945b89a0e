"""``md lookup``: lists all services of one name."""

from __future__ import annotations

import click

from ..lookup.query import Query
from ..resolver import in_order
from .parts.one_lookup import complete_label, complete_name, described, look, tell_held_back, verdict
from .parts.options import Options, common, labels_of
from .parts.output import print_services
from .parts.terminal import talk


@click.command("lookup")
@click.argument("name", shell_complete=complete_name)
@click.argument("labels", metavar="[KEY=VALUE]...", nargs=-1, shell_complete=complete_label)
@common
def command(name: str, labels: tuple[str, ...], options: Options) -> int:
    """List all services that have this name and these labels.

    \b
    Examples:
      md lookup web
      md lookup web env=prod -o name
    """
    query = Query.of(name, labels_of(labels))
    found, resolver = look(query, options)
    print_services(in_order(found.services), options)
    if options.output == "wide":
        tell_held_back(query, resolver)
    if not found.services:
        talk(f"no service {described(query)} was found")
    return verdict(found, options, nothing=1)
