"""``md find``: prints one endpoint, for scripts."""

from __future__ import annotations

import click

from ..lookup.query import Query
from .parts.one_lookup import complete_label, complete_name, described, look, verdict
from .parts.options import Options, common, labels_of
from .parts.output import print_services
from .parts.terminal import talk


@click.command("find")
@click.argument("name", shell_complete=complete_name)
@click.argument("labels", metavar="[KEY=VALUE]...", nargs=-1, shell_complete=complete_label)
@common
def command(name: str, labels: tuple[str, ...], options: Options) -> int:
    """Find one service and print its ip:port. The first response is enough.

    \b
    Examples:
      md find web env=prod
      curl "http://$(md find web)/"
    """
    query = Query.of(name, labels_of(labels), first=True)
    found, resolver = look(query, options)
    best = resolver.prefer(found)[:1]
    print_services(best, options, unasked="name")
    if not best:
        talk(f"no service {described(query)} was found")
    return verdict(found, options, nothing=1)
