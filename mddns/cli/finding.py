"""What ``list``, ``find`` and ``lookup`` share: one lookup with what was remembered, and what is said of its gaps."""

from __future__ import annotations

import time

from ..errors import NetworkError
from ..inquiry import Found, Query
from ..remembered import load, save
from ..resolver import Resolver
from ..silence import sentence
from .options import Options
from .output import talk


def look(query: Query, options: Options) -> tuple[Found, Resolver]:
    """Asks the network once. NetworkError where every registry that is known was silent."""
    settings = options.settings
    remembered_as = f"{settings.network_name} {settings.apex}:{settings.port}"
    memory = load(remembered_as, time.monotonic(), time.time())
    resolver = Resolver.of(settings, memory)
    found = resolver.find(query)
    if memory.changed:
        save(remembered_as, memory, time.monotonic(), time.time())
    if found.silent:
        told = sentence(found.silent, found.asked)
        if found.nobody_answered:
            raise NetworkError(f"{told}; no registry could be asked. Is the network up, and port {settings.port} open?")
        talk(told)
    return found, resolver


def verdict(found: Found, options: Options, *, nothing: int = 0) -> int:
    """The exit code: 4 for a gap where that matters, `nothing` where nothing was found, else 0."""
    if options.strict and found.silent:
        return 4
    return 0 if found.services else nothing


def described(query: Query) -> str:
    """A query in words, for messages: ``'web' with env=prod``."""
    labels = " ".join(f"{key}={value}" for key, value in query.labels.items())
    name = f"'{query.name}'" if query.name else "of any name"
    return f"{name} with {labels}" if labels else name
