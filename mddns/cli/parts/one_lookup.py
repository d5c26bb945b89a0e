"""The part that ``list``, ``find`` and ``lookup`` share: one lookup, and the messages about silent peers."""

from __future__ import annotations

import time

import click

from ...base.errors import NetworkError
from ...directory.silence_text import sentence
from ...files.peers_file import load, save
from ...lookup.query import Found, Query
from ...resolver import Resolver
from ...system import clock
from .options import Options, remembered_as
from .terminal import clean, talk


def look(query: Query, options: Options, seen: Found | None = None) -> tuple[Found, Resolver]:
    """Queries the network once. NetworkError if every known registry was silent.

    `seen` is the state of an earlier watch. Peers that were silent there count as silent here too.
    """
    settings = options.settings
    memory = load(remembered_as(settings), clock.now(), time.time())
    resolver = Resolver.of(settings, memory)
    found = resolver.find(query)
    if memory.changed:
        save(remembered_as(settings), memory, clock.now(), time.time())
    if not resolver.tun:
        talk("tailscaled runs in userspace networking, so md cannot find services of other machines; run 'md doctor'")
    if seen and seen.silent:
        found = found._replace(
            silent=tuple(dict.fromkeys((*found.silent, *seen.silent))), asked=max(found.asked, seen.asked)
        )
    if found.silent:
        told = sentence(found.silent, found.asked)
        if found.nobody_answered:
            raise NetworkError(f"{told}; no registry answered. Is the network up, and port {settings.port} open?")
        talk(told)
    return found, resolver


def tell_held_back(query: Query, resolver: Resolver) -> None:
    """Prints the services that their hosts hold back because a check fails."""
    for service in resolver.held_back():
        if query.name is None or service.matches(query.name):
            where = f" on {clean(service.host)}" if service.host else ""
            talk(f"held back: {clean(service.name)} {service.endpoint}{where}: {clean(service.held)}")


def verdict(found: Found, options: Options, *, nothing: int = 0) -> int:
    """Returns the exit code: 4 if a peer was silent and --strict is set, `nothing` if nothing was found, else 0."""
    if options.strict and found.silent:
        return 4
    return 0 if found.services else nothing


def described(query: Query) -> str:
    """Returns a query in words, for messages: ``'web' with env=prod``."""
    labels = " ".join(f"{key}={value}" for key, value in query.labels.items())
    name = f"'{query.name}'" if query.name else "of any name"
    return f"{name} with {labels}" if labels else name


def complete_name(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Shell completion: names of services."""
    from .suggest import names

    return names(ctx, incomplete)


def complete_label(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Shell completion: labels of the services that have the name before them."""
    from .suggest import labels

    return labels(ctx, incomplete, ctx.params.get("name"))


def complete_word(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Shell completion of ``[NAME] [KEY=VALUE]…``."""
    from .suggest import labels, names

    words = ctx.params.get("words") or ()
    if words:
        return labels(ctx, incomplete, None if "=" in words[0] else words[0])
    return names(ctx, incomplete) + labels(ctx, incomplete)
