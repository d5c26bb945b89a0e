"""``md check``: whether a file is right, and what would be advertised. It needs no network."""

from __future__ import annotations

from collections.abc import Iterator

import click

from ..errors import ConfigError
from ..names import MAX_LABEL
from ..offer import Offer
from ..zone import view_pair
from .files import read_offers, shown
from .offering import in_words
from .options import Options, common
from .terminal import talk


@click.command("check")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@common
def command(files: tuple[str, ...], options: Options) -> int:
    """Is this file right? Say all that is wrong with it, else what it offers. It asks no network.

    Each line that it prints is a service, as one would type it behind 'md advertise'. Label pairs
    that no name such as web.prod._env.minidisc can ask for are told; all the same they are labels.

    \b
    Examples:
      md check my-services.yaml
      md check zones/*.zone
    """
    options.choose(("table",))  # what it prints is for md advertise
    code = 0
    for path in files:
        try:
            offers, remarks = read_offers(path, options.settings.apex)
        except ConfigError as error:
            for problem in error.problems:
                talk(problem)
            code = error.exit_code
            continue
        for remark in (*remarks, *without_view(offers)):
            talk(remark)
        for offer in offers:
            click.echo(in_words(offer))
        talk(f"{shown(path)}: right; {len(offers)} service{'' if len(offers) == 1 else 's'}")
    return code


def without_view(offers: list[Offer]) -> Iterator[str]:
    """A word on each label pair that has no view, and why."""
    for offer in offers:
        for key, value in offer.labels.items():
            if view_pair(key, value) is None:
                yield f"{offer.where}: {offer.name}: {key}={value} has no view: {_why(key, value)}"


def _why(key: str, value: str) -> str:
    """The rules are `view_pair`'s."""
    if key.lower() in ("tcp", "udp", "dns-sd", "list"):
        return f"_{key} has a meaning of its own in DNS-SD"
    if len(key) >= MAX_LABEL:
        return f"a key of {len(key)} octets; at most {MAX_LABEL - 1} fit beside the underscore"
    if not key.replace("-", "").isalnum():
        return "in names, a key has letters, digits and hyphens alone"
    if not value:
        return "there is no value to ask for"
    if value.startswith("_"):
        return "in names, a value cannot start with '_'"
    return f"a value of {len(value.encode())} octets; at most {MAX_LABEL} fit"
