"""A recipe: what to put where so that a resolver sends our names to a forwarder. Text in, text out."""

from __future__ import annotations

import ipaddress
import re
import textwrap
from typing import Final, NamedTuple

from ..base.errors import ConfigError
from ..base.model import DEFAULT_DOMAIN, join_address

LISTEN: Final = "127.0.0.1"
FORWARDER_PORT: Final = 5354  # where md forward listens without root
EXAMPLE_NODE: Final = "100.64.0.1"
_OURS: Final = ": written by mddns, 'md setup"
_WRAP: Final = textwrap.TextWrapper(
    100, initial_indent="# - ", subsequent_indent="#   ", break_on_hyphens=False, break_long_words=False
)
# What every resolver's file can hold as it stands, and what is no path either.
_PLAIN: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?:\.(?!-)[A-Za-z0-9_-]{1,63})*")


class Target(NamedTuple):
    """The names to send on, ``minidisc`` say, and to whom."""

    apex: str
    address: str = LISTEN
    port: int = FORWARDER_PORT

    @property
    def listen(self) -> str:
        """``127.0.0.1:5354``, as ``md forward --listen`` takes it."""
        return join_address(self.address, self.port)

    @property
    def domain_option(self) -> str:
        """What a command of ours needs besides, to be about the same names."""
        return "" if self.apex == DEFAULT_DOMAIN else f" --domain {self.apex}"

    @property
    def url_host(self) -> str:
        """The address as it stands in a URL or a Corefile: IPv6 in brackets."""
        return f"[{self.address}]" if ":" in self.address else self.address


class File(NamedTuple):
    """One file: where it belongs, and what it says below its first line, which tells whose it is."""

    where: str
    body: str


class Recipe(NamedTuple):
    """What makes one kind of resolver send our names on.

    ``first`` has to run for as long as it is to work; ``then`` makes it count; ``mind`` are its traps. What follows is
    for those that we can put there ourselves: ``places``, of which one is taken and the others are left by other
    versions; ``test``, a command that says whether the whole configuration is right; ``reload``, a command; and
    ``directory``: whether the place may be made, or is only read where it is there already.
    """

    kind: str
    files: tuple[File, ...]
    first: tuple[str, ...]
    then: tuple[str, ...]
    mind: tuple[str, ...]
    places: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    reload: tuple[str, ...] = ()
    directory: bool = True


def target(apex: str, listen: str | None, *, port: int = FORWARDER_PORT, address: str = LISTEN) -> Target:
    """Where to send names under `apex`: to `listen`, ``ADDRESS[:PORT]``, else to `address`. ConfigError if none."""
    apex = apex.rstrip(".")
    if not _PLAIN.fullmatch(apex):
        raise ConfigError(f"domain {apex!r}: resolvers' files want letters, digits, hyphens and dots, as in minidisc")
    if listen is None:
        return Target(apex, address, port)
    host, number = _split(listen)
    try:
        where = ipaddress.ip_address(host)
    except ValueError:
        where = None
    right = number is None or (number.isascii() and number.isdecimal() and len(number) <= 5 and 0 < int(number) < 65536)
    if where is None or not right:
        raise ConfigError(f"listen {listen!r}: an address is wanted, as in 127.0.0.1:5354, 127.0.0.1 or [::1]:5354")
    if where.is_unspecified:
        raise ConfigError(f"listen {listen!r}: nobody can be asked at {where}; name one address, as in 127.0.0.1:5354")
    return Target(apex, str(where), port if number is None else int(number))


def _split(listen: str) -> tuple[str, str | None]:
    if listen.startswith("["):
        host, closing, behind = listen[1:].partition("]")
        return (host, behind[1:] or None) if closing and behind[:1] in ("", ":") else (listen, None)
    if listen.count(":") == 1:
        host, _, number = listen.partition(":")
        return host, number
    return listen, None


def forwarder(to: Target) -> tuple[str, ...]:
    """The command that has to run for a recipe that points at the forwarder."""
    return (f"md forward --listen {to.listen}{to.domain_option}",)


def content(recipe: Recipe, file: File) -> str:
    """A file as it is written: its first line says whose it is."""
    return f"# {file.where}{_OURS} {recipe.kind}'\n{file.body.strip()}\n"


def is_ours(text: str) -> bool:
    """Whether a file is one that a recipe wrote, of whatever version."""
    return _OURS in text.partition("\n")[0]


def text(recipe: Recipe, to: Target) -> str:
    """A whole recipe for people. All but the files' own lines are comments, so it may go into the file as it is."""
    lines = ["\n".join(content(recipe, file) for file in recipe.files)]
    for heading, commands in (("For as long as it is to work, run", recipe.first), ("To make it count", recipe.then)):
        if commands:
            lines += [f"# {heading}:", *(f"#   {command}" for command in commands)]
    if recipe.places:
        lines += ["# Or let md do it, and undo it:"]
        lines += [f"#   sudo {command}" for command in (apply_command(recipe.kind, to), undo_command(recipe.kind, to))]
    lines += ["# Whether it works:", f"#   md doctor{to.domain_option}"]
    if recipe.mind:
        lines.append("# Mind:")
    for trap in recipe.mind:
        lines += _WRAP.wrap(trap)
    return "\n".join(lines) + "\n"


def apply_command(kind: str, to: Target) -> str:
    """What one types to have it put there."""
    listen = "" if (to.address, to.port) == (LISTEN, FORWARDER_PORT) else f" --listen {to.listen}"
    return f"md setup {kind} --apply{listen}{to.domain_option}"


def undo_command(kind: str, to: Target) -> str:
    """What one types to have it taken away."""
    return f"md setup {kind} --undo{to.domain_option}"
