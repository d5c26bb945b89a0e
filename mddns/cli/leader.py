"""``md leader``: who leads among the services of a name."""

from __future__ import annotations

import click

from ..base.leader import leader
from ..lookup.query import Query
from .parts.one_lookup import complete_label, complete_name, described, look, verdict
from .parts.options import Options, common, labels_of
from .parts.output import print_services
from .parts.terminal import talk


@click.command("leader")
@click.argument("name", shell_complete=complete_name)
@click.argument("labels", metavar="[KEY=VALUE]...", nargs=-1, shell_complete=complete_label)
@common
def command(name: str, labels: tuple[str, ...], options: Options) -> int:
    """Print the ip:port of the service that leads among those of a name.

    It is the one with the lowest priority, then the one that came up first by the clock of its own
    host; a time before 2024 comes last. All who see the same services see the same leader, whatever
    their own clocks say; that is no consensus, since a network that is split has two.

    \b
    Examples:
      md leader db
      md leader db env=prod -o json
    """
    query = Query.of(name, labels_of(labels))
    found, _ = look(query, options)
    leading = leader(found.services)
    print_services([leading] if leading else [], options, unasked="name")
    if not leading:
        talk(f"no service {described(query)} was found")
    return verdict(found, options, nothing=1)
