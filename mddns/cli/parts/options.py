"""The options that every command takes, before or after its name: flag, then environment, then default."""

import os
from collections.abc import Callable, Sequence
from functools import partial, wraps
from typing import Any, Final, NamedTuple, TypeVar

import click

from ...base.errors import ConfigError
from ...networks.settings import Settings
from .terminal import talk_json

F = TypeVar("F", bound=Callable[..., Any])

FORMATS: Final = ("table", "wide", "json", "jsonl", "yaml", "name", "zone")


class _Common(click.Option):
    """An option whose environment variable is told in its help."""

    def __init__(self, declarations: Sequence[str], variable: str | None, help_text: str, **more: Any) -> None:
        told = f"{help_text}  [{variable}]" if variable else help_text
        super().__init__(list(declarations), help=told, expose_value=True, default=None, **more)
        self.variable = variable


def _output(formats: Sequence[str], told: str) -> _Common:
    def complete(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
        return [each for each in formats if each.startswith(incomplete)]

    return _Common(("-o", "--output"), "MDDNS_OUTPUT", told, metavar="FORMAT", shell_complete=complete)


COMMON: Final = (
    _Common(
        ("--network",),
        "MDDNS_NETWORK",
        "Where to look: tailscale (default) or static:ADDRESS[:PORT],…; repeatable.",
        multiple=True,
        metavar="NET",
    ),
    _Common(("--address",), "MDDNS_ADDRESS", "Our own address on it, instead of the one found.", metavar="IP"),
    _Common(("--domain",), "MDDNS_DOMAIN", "The zone; default minidisc.", metavar="NAME"),
    _Common(("--port",), "MDDNS_PORT", "The port that nodes answer on; default 28004.", metavar="N"),
    _Common(("--timeout",), "MDDNS_TIMEOUT", "Seconds that a lookup may take; default 1.", metavar="S"),
    _Common(("--strict",), "MDDNS_STRICT", "A lookup: exit 4 when a registry was silent.", is_flag=True),
    _output(
        FORMATS,
        "How services are printed: table, wide, json, jsonl, yaml (md advertise reads it), name (an ip:port a line) "
        "or zone (a zone file).",
    ),
    _Common(("-v", "--verbose"), None, "Tell of every change of state, on stderr; -vv: of more.", count=True),
    _Common(
        ("--log-format",),
        "MDDNS_LOG_FORMAT",
        "What stderr gets: text (default) or json, an object a line.",
        metavar="FORMAT",
    ),
)

_ON: Final = ("1", "true", "yes", "on")
_OFF: Final = ("", "0", "false", "no", "off")


class Options(NamedTuple):
    """What the common options say, environment included.

    ``asked`` is the format that somebody asked for, None where nobody did; ``insisted``: by a flag.
    """

    settings: Settings
    asked: str | None
    insisted: bool
    strict: bool
    verbose: int = 0

    @property
    def output(self) -> str:
        """The format asked for, ``table`` where none was."""
        return self.asked or "table"

    def choose(self, among: Sequence[str] = FORMATS, unasked: str = "table") -> str:
        """The format to print in, of those that a command has. ConfigError where a flag wants another."""
        if self.asked is None:
            return unasked
        if self.asked in among:
            return self.asked
        if self.insisted:
            raise ConfigError(f"output {self.asked!r}: this command has {', '.join(among)}")
        return unasked  # what the environment says is for all commands, so it is no mistake in this one


def remember(ctx: click.Context, values: dict[str, Any]) -> None:
    """Keeps the options given before the command's name."""
    ctx.obj = {name: value for name, value in values.items() if value}


def common(command: F) -> F:
    """Gives a command the common options, as one argument `options`."""
    return _with(COMMON, command)


def common_printing(formats: Sequence[str]) -> Callable[[F], F]:
    """As :func:`common`, for a command that prints in these formats alone: see :meth:`Options.choose`."""
    *others, last = formats
    told = f"How it is printed: {', '.join(others)} or {last}." if others else f"How it is printed: {last} alone."
    output = _output(formats, told)
    return partial(_with, [output if option.name == output.name else option for option in COMMON])


def _with(shown: Sequence[click.Option], command: F) -> F:
    @wraps(command)
    @click.pass_context
    def wrapped(ctx: click.Context, /, *args: Any, **values: Any) -> Any:
        given = dict(ctx.obj or {})
        for option in COMMON:
            value = values.pop(str(option.name))
            if value:
                given[str(option.name)] = value
        return command(*args, options=options_of(given), **values)

    params = getattr(wrapped, "__click_params__", [])
    wrapped.__click_params__ = [*reversed(shown), *params]  # type: ignore[attr-defined]
    return wrapped  # type: ignore[return-value]


def options_of(given: dict[str, Any]) -> Options:
    """Options from what the command line gave; the rest comes from the environment. ConfigError says what is wrong."""
    _say_as(given.get("log_format"))
    settings = Settings.of(
        list(given["network"]) if given.get("network") else None,
        domain=given.get("domain"),
        port=given.get("port"),
        address=given.get("address"),
        timeout=given.get("timeout"),
    )
    where, asked = "output", given.get("output")
    if not asked:
        where, asked = "MDDNS_OUTPUT", os.environ.get("MDDNS_OUTPUT") or None
    if asked is not None and asked not in FORMATS:
        raise ConfigError(f"{where} {asked!r}: one of {', '.join(FORMATS)} is wanted")
    verbose = int(given.get("verbose") or 0)
    if verbose:
        from .logs import show_logs

        show_logs(verbose)
    return Options(settings, asked, bool(given.get("output")), bool(given.get("strict")) or _strict(), verbose)


def _say_as(log_format: str | None) -> None:
    where, asked = "log-format", log_format
    if not asked:
        where, asked = "MDDNS_LOG_FORMAT", os.environ.get("MDDNS_LOG_FORMAT") or "text"
    if asked not in ("text", "json"):
        raise ConfigError(f"{where} {asked!r}: text or json is wanted")
    talk_json(asked == "json")


def _strict() -> bool:
    said = os.environ.get("MDDNS_STRICT", "").lower()
    if said not in _ON and said not in _OFF:
        raise ConfigError(f"MDDNS_STRICT {said!r}: 1 or 0 is wanted")
    return said in _ON


def split_name(words: Sequence[str]) -> tuple[str | None, dict[str, str]]:
    """``[NAME] [k=v…]`` as a name, if there is one, and labels."""
    if words and "=" not in words[0]:
        return words[0], labels_of(words[1:])
    return None, labels_of(words)


def labels_of(words: Sequence[str]) -> dict[str, str]:
    """``k=v…`` as labels; a usage error for anything else."""
    labels: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise click.UsageError(f"'{word}' is no label: key=value is wanted, as in env=prod")
        if labels.setdefault(key, value) != value:
            raise click.UsageError(f"label '{key}' is given twice")
    return labels


def remembered_as(settings: Settings) -> str:
    """What a network is called in the file of what is remembered."""
    return f"{settings.network_name} {settings.apex}:{settings.port}"
