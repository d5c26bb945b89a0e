"""``md leader``: prints the leader among the services of a name."""

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
    """Print the ip:port of the leader among the services of a name.

    The leader is the service with the lowest priority value. Among equals it is the one that started
    first, by the clock of its own host; a start time before 2024 sorts last. All clients that see the
    same services choose the same leader. This is not consensus: a network that is split has two leaders.

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
