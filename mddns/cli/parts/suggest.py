"""Shell completion of names and labels from the network. It is fast or returns nothing, and never prints an error.

Names from peers are put on a command line here, and Enter runs it. So only text without any meaning to a shell is
suggested.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

import click
from click.shell_completion import BashComplete, CompletionItem, add_completion_class, shell_complete

from ...base.model import Service, fold
from ...files.peers_file import load
from ...lookup.query import Query
from ...resolver import Resolver
from ...system import clock
from .. import group
from .options import options_of, remembered_as

VARIABLE: Final = "_MD_COMPLETE"  # set by click's completion scripts
PATIENCE: Final = 0.5  # seconds for a completion, without the start of the program
_NETWORK: Final = ("network", "address", "domain", "port")  # the options that select the network
_BREAKS: Final = frozenset("=:")  # in COMP_WORDBREAKS, and part of our words
_SAFE: Final = re.compile(r"\w[\w.:/@+=-]*")


class _Bash(BashComplete):
    """Bash splits ``env=prod`` and ``static:100.64.0.1`` into three words. This class joins them, and returns to bash
    only the text after the last split."""

    cut = 0

    def get_completion_args(self) -> tuple[list[str], str]:
        args, incomplete = super().get_completion_args()
        joined: list[str] = []
        for word in (*args, incomplete):
            if joined and word and (_BREAKS.issuperset(word) or joined[-1][-1:] in _BREAKS):
                joined[-1] += word
            else:
                joined.append(word)
        *words, last = joined
        self.cut = max(map(last.rfind, _BREAKS)) + 1
        return words, last

    def format_completion(self, item: CompletionItem[str]) -> str:
        return f"{item.type},{item.value[self.cut :]}"


def complete() -> int:
    """Answers a completion request of a shell, which is in the environment."""
    add_completion_class(_Bash)
    try:
        return shell_complete(group, {}, "md", VARIABLE, os.environ[VARIABLE])
    except Exception:  # an error text would break the command line
        return 0


def names(ctx: click.Context, incomplete: str) -> list[str]:
    """Returns the names of services that begin with `incomplete`."""
    return _suggest(ctx, incomplete, lambda services: (service.name for service in services))


def labels(ctx: click.Context, incomplete: str, name: str | None = None) -> list[str]:
    """Returns the labels ``key=value`` of services; only of one `name` if given."""

    def pairs(services: Iterable[Service]) -> Iterable[str]:
        for service in services:
            if name is None or fold(service.name) == fold(name):
                yield from (f"{key}={value}" for key, value in service.labels.items())

    return _suggest(ctx, incomplete, pairs)


def _suggest(ctx: click.Context, incomplete: str, texts: Callable[[Iterable[Service]], Iterable[str]]) -> list[str]:
    found = {text for text in texts(_services(ctx)) if text.startswith(incomplete) and _SAFE.fullmatch(text)}
    return sorted(found)


def _services(ctx: click.Context) -> Iterable[Service]:
    def stop(*_: Any) -> None:
        raise TimeoutError

    # This ends the wait for a daemon or disk that hangs.
    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    try:
        known = [each.params for each in (ctx, ctx.parent) if each]
        given = {name: next((said[name] for said in known if said.get(name)), None) for name in _NETWORK}
        settings = options_of({**given, "timeout": PATIENCE / 2}).settings
        memory = load(remembered_as(settings), clock.now(), time.time())
        return Resolver.of(settings, memory).find(Query()).services
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
