"""The options that every command takes, before or after its name. A flag overrides the environment variable."""

import math
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
    """An option whose help names its environment variable."""

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
        "The network to search: tailscale (default) or static:ADDRESS[:PORT],…; repeatable.",
        multiple=True,
        metavar="NET",
    ),
    _Common(
        ("--address",), "MDDNS_ADDRESS", "This machine's own address on the network. Default: detected.", metavar="IP"
    ),
    _Common(("--domain",), "MDDNS_DOMAIN", "The DNS zone of all service names; default minidisc.", metavar="NAME"),
    _Common(("--port",), "MDDNS_PORT", "The UDP and TCP port where nodes answer; default 28004.", metavar="N"),
    _Common(("--timeout",), "MDDNS_TIMEOUT", "Time limit of a lookup, in seconds; default 1.", metavar="S"),
    _Common(("--strict",), "MDDNS_STRICT", "Exit with code 4 if a registry did not answer a lookup.", is_flag=True),
    _output(
        FORMATS,
        "Output format: table, wide, json, jsonl, yaml (for md advertise), name (one ip:port per line) "
        "or zone (a zone file).",
    ),
    _Common(("-v", "--verbose"), None, "Log changes of state to stderr; -vv logs more.", count=True),
    _Common(
        ("--log-format",),
        "MDDNS_LOG_FORMAT",
        "Format of messages on stderr: text (default) or json, one object per line.",
        metavar="FORMAT",
    ),
)

_ON: Final = ("1", "true", "yes", "on")
_OFF: Final = ("", "0", "false", "no", "off")


class Options(NamedTuple):
    """The values of the common options, from flags and environment.

    ``asked`` is the output format, None if none was given; ``insisted`` is true if a flag gave it. ``network``
    has the flags that name the network, with their values, as a command that is shown to the user needs them.
    """

    settings: Settings
    asked: str | None
    insisted: bool
    strict: bool
    verbose: int = 0
    network: tuple[str, ...] = ()

    @property
    def output(self) -> str:
        """The output format; default ``table``."""
        return self.asked or "table"

    def choose(self, among: Sequence[str] = FORMATS, unasked: str = "table") -> str:
        """Returns the output format, one of `among`. ConfigError if a flag gave another one."""
        if self.asked is None:
            return unasked
        if self.asked in among:
            return self.asked
        if self.insisted:
            raise ConfigError(f"output {self.asked!r}: this command supports only {', '.join(among)}")
        return unasked  # the environment is for all commands, so its value is no error here


def remember(ctx: click.Context, values: dict[str, Any]) -> None:
    """Keeps the options that stand before the command's name."""
    ctx.obj = {name: value for name, value in values.items() if value}


def common(command: F) -> F:
    """Gives a command the common options, as one argument `options`."""
    return _with(COMMON, command)


def common_printing(formats: Sequence[str]) -> Callable[[F], F]:
    """As :func:`common`, for a command that supports only these formats: see :meth:`Options.choose`."""
    *others, last = formats
    told = f"Output format: {', '.join(others)} or {last}." if others else f"Output format: only {last}."
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
    """Returns the options from the command line and the environment. ConfigError if a value is wrong."""
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
        raise ConfigError(f"{where} {asked!r}: must be one of {', '.join(FORMATS)}")
    verbose = int(given.get("verbose") or 0)
    if verbose:
        from .logs import show_logs

        show_logs(verbose)
    strict = bool(given.get("strict")) or _strict()
    return Options(settings, asked, bool(given.get("output")), strict, verbose, _network_flags(given))


def _network_flags(given: dict[str, Any]) -> tuple[str, ...]:
    words = [word for each in given.get("network") or () for word in ("--network", each)]
    for name in ("address", "port"):
        if given.get(name):
            words += (f"--{name}", str(given[name]))
    return tuple(words)


def _say_as(log_format: str | None) -> None:
    where, asked = "log-format", log_format
    if not asked:
        where, asked = "MDDNS_LOG_FORMAT", os.environ.get("MDDNS_LOG_FORMAT") or "text"
    if asked not in ("text", "json"):
        raise ConfigError(f"{where} {asked!r}: must be text or json")
    talk_json(asked == "json")


def _strict() -> bool:
    said = os.environ.get("MDDNS_STRICT", "").lower()
    if said not in _ON and said not in _OFF:
        raise ConfigError(f"MDDNS_STRICT {said!r}: must be 1 or 0")
    return said in _ON


def split_name(words: Sequence[str]) -> tuple[str | None, dict[str, str]]:
    """Splits ``[NAME] [k=v…]`` into the name, or None, and the labels."""
    if words and "=" not in words[0]:
        return words[0], labels_of(words[1:])
    return None, labels_of(words)


def labels_of(words: Sequence[str]) -> dict[str, str]:
    """Returns ``k=v…`` as labels. UsageError for any other word."""
    labels: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise click.UsageError(f"'{word}' is not a label; write labels as key=value, as in env=prod")
        if labels.setdefault(key, value) != value:
            raise click.UsageError(f"label '{key}' is given twice")
    return labels


def remembered_as(settings: Settings) -> str:
    """Returns the key of a network in the file of remembered peers."""
    return f"{settings.network_name} {settings.apex}:{settings.port}"


def seconds(option: str) -> Callable[[str], float]:
    """Returns a parser of seconds, 0 or more. `option` is the name in error messages."""

    def read(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not 0 <= number < math.inf:
            raise click.UsageError(f"{option} {text!r}: must be a number of seconds, 0 or more")
        return number

    return read
