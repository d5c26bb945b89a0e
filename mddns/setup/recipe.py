"""A recipe: which text to write to which file so that a resolver sends our names to a forwarder. There is no I/O."""

from __future__ import annotations

import ipaddress
import re
import shlex
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
# Domains that need no quoting in any of the files, and that are no path.
_PLAIN: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?:\.(?!-)[A-Za-z0-9_-]{1,63})*")


class Target(NamedTuple):
    """The apex of the names to forward, such as ``minidisc``, and the server to forward them to.

    ``network_options`` are the options that name the network, for our commands, such as ``--network`` and its value.
    """

    apex: str
    address: str = LISTEN
    port: int = FORWARDER_PORT
    network_options: tuple[str, ...] = ()

    @property
    def listen(self) -> str:
        """``127.0.0.1:5354``, as ``md forward --listen`` takes it."""
        return join_address(self.address, self.port)

    @property
    def domain_option(self) -> str:
        """The option that our commands need to use the same apex; "" for the default one."""
        return "" if self.apex == DEFAULT_DOMAIN else f" --domain {self.apex}"

    @property
    def options(self) -> str:
        """The options that our commands need to use the same network and apex; "" for the default ones."""
        return "".join(f" {shlex.quote(word)}" for word in self.network_options) + self.domain_option

    @property
    def url_host(self) -> str:
        """The address for a URL or a Corefile: IPv6 in brackets."""
        return f"[{self.address}]" if ":" in self.address else self.address


class File(NamedTuple):
    """One file: its place, and its text below the first line, which marks it as ours."""

    where: str
    body: str


class Recipe(NamedTuple):
    """The files and commands that make one kind of resolver forward our names.

    ``first`` are commands that have to keep running; ``then`` are commands that make the change take effect; ``mind``
    are warnings. The other fields are for recipes that md can apply: ``places`` are the possible paths of the file, the
    one to write first, then those that recipes for other versions use; ``test`` is a command that checks the whole
    configuration; ``reload`` is a command; ``directory`` is whether the directory may be made (False: the resolver
    reads it only if its package made it).
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
    """The target for names under `apex`: `listen` (``ADDRESS[:PORT]``), else `address`. ConfigError if invalid."""
    apex = apex.rstrip(".")
    if not _PLAIN.fullmatch(apex):
        raise ConfigError(
            f"domain {apex!r}: must consist of letters, digits, hyphens and dots for a resolver's file, as in minidisc"
        )
    if listen is None:
        return Target(apex, address, port)
    host, number = _split(listen)
    try:
        where = ipaddress.ip_address(host)
    except ValueError:
        where = None
    right = number is None or (number.isascii() and number.isdecimal() and len(number) <= 5 and 0 < int(number) < 65536)
    if where is None or not right:
        raise ConfigError(f"listen {listen!r}: must be an address, as in 127.0.0.1:5354, 127.0.0.1 or [::1]:5354")
    if where.is_unspecified:
        raise ConfigError(
            f"listen {listen!r}: no client can send queries to {where}; name one address, as in 127.0.0.1:5354"
        )
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
    """The command that has to keep running for a recipe that uses the forwarder."""
    return (f"md forward --listen {to.listen}{to.options}",)


def content(recipe: Recipe, file: File) -> str:
    """The whole text of a file, with the first line that marks it as ours."""
    return f"# {file.where}{_OURS} {recipe.kind}'\n{file.body.strip()}\n"


def is_ours(text: str) -> bool:
    """Whether a file with this text was written from a recipe, of any version."""
    return _OURS in text.partition("\n")[0]


def text(recipe: Recipe, to: Target) -> str:
    """A whole recipe for users. All lines except those of the files are comments, so it can be copied as it is."""
    lines = ["\n".join(content(recipe, file) for file in recipe.files)]
    for heading, commands in (("Keep this running", recipe.first), ("To apply the change, run", recipe.then)):
        if commands:
            lines += [f"# {heading}:", *(f"#   {command}" for command in commands)]
    if recipe.places:
        lines += ["# Or let md apply it, and undo it:"]
        lines += [f"#   sudo {command}" for command in (apply_command(recipe.kind, to), undo_command(recipe.kind, to))]
    lines += ["# To check that it works:", f"#   md doctor{to.options}"]
    if recipe.mind:
        lines.append("# Notes:")
    for trap in recipe.mind:
        lines += _WRAP.wrap(trap)
    return "\n".join(lines) + "\n"


def apply_command(kind: str, to: Target) -> str:
    """The command that applies a recipe."""
    listen = "" if (to.address, to.port) == (LISTEN, FORWARDER_PORT) else f" --listen {to.listen}"
    return f"md setup {kind} --apply{listen}{to.domain_option}"


def undo_command(kind: str, to: Target) -> str:
    """The command that undoes a recipe."""
    return f"md setup {kind} --undo{to.domain_option}"
