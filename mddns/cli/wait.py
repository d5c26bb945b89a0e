"""``md wait``: waits for a service and prints its endpoint."""

from __future__ import annotations

import time

import click

from ..directory.peer_memory import Memory
from ..lookup.query import Found, Query
from ..resolver import Resolver
from .parts.one_lookup import complete_label, complete_name, described, look, verdict
from .parts.options import Options, common, labels_of, seconds
from .parts.output import print_services
from .parts.terminal import talk
from .parts.watch_when_up import open_when_up


@click.command("wait")
@click.argument("name", shell_complete=complete_name)
@click.argument("labels", metavar="[KEY=VALUE]...", nargs=-1, shell_complete=complete_label)
@click.option(
    "--for", "patience", type=seconds("--for"), metavar="S", help="Seconds to wait; 0 looks once. Default: no limit."
)
@common
def command(name: str, labels: tuple[str, ...], patience: float | None, options: Options) -> int:
    """Wait until a service exists, then print its ip:port.

    If the network is not up yet, md waits for it too; the exit code is 3 if it does not come up in time.
    When the time is over, md looks once more, as md find does, and names the peers that were silent.
    The exit code is 0 if a service was found, with --strict too.

    \b
    Examples:
      md wait db env=prod --for 30
      curl "http://$(md wait web)/"
    """
    query = Query.of(name, labels_of(labels), first=True)
    until = None if patience is None else time.monotonic() + patience
    with Resolver.of(options.settings, Memory()) as resolver:
        events = resolver.watch(query.name, query.labels)
        open_when_up(events, patience)
        while event := events.next(None if until is None else max(0.0, until - time.monotonic())):
            if event.kind in ("up", "update") and event.service:
                print_services(resolver.prefer(Found((event.service,), (), 0)), options, unasked="name")
                return 0
        seen = resolver.watched(query)
    # A watch that has only begun does not know yet which peers ought to answer. The file of remembered peers does.
    found, resolver = look(query, options, seen)
    best = resolver.prefer(found)[:1]
    print_services(best, options, unasked="name")
    if best:
        return 0
    talk(f"no service {described(query)} came within {patience:g} s")
    return verdict(found, options, nothing=1)
