"""Generates the man page from the commands: ``python -m mddns.cli.manpage > docs/md.1``.

The page is in the repository, so that packagers need no build step. A test fails if it is out of date.
"""

from __future__ import annotations

from collections.abc import Iterator

import click

from . import COMMANDS, SECTIONS, group
from .parts.options import COMMON, FORMATS
from .parts.topics import ENVIRONMENT, EXIT_CODES, FORMAT_WORDS

_ABOUT = (
    "Every process that offers a service answers DNS for it, on UDP and TCP port 28004 of this machine's own address. "
    "A client queries all nodes of the network at once and merges their responses. So there is no server, and dig sees "
    "the same services as md.",
    "The network is the tailnet of this machine's Tailscale daemon, unless --network selects another.",
)


def page() -> str:
    """Returns the page in man(7) macros. It has no date and no version, so it changes only with its words."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    top = click.Context(group, info_name="md")
    yield from ('.TH MD 1 "" mddns "User Commands"', ".SH NAME", r"md, mddns \- find services on a network by name")
    yield ".SH SYNOPSIS"
    yield r".B md"
    yield _text("[OPTIONS] COMMAND [ARGS]...")
    yield ".SH DESCRIPTION"
    for number, paragraph in enumerate(_ABOUT):
        yield from (*((".PP",) if number else ()), _text(paragraph))
    yield ".SH COMMANDS"
    for section, names in SECTIONS.items():
        yield f".SS {section}"
        for name in names:
            command = group.get_command(top, name)
            if command is not None:
                yield from _command(name, command, top)
    yield ".SH OPTIONS"
    yield _text("Options may stand before or after the command. An option overrides its environment variable.")
    for option in COMMON:
        yield from _option(option, top)
    yield ".SH OUTPUT"
    for name in FORMATS:
        yield from (".TP", rf".B {name}", _text(FORMAT_WORDS[name]))
    yield from (".PP", _text("Services go to standard output, everything else to standard error."))
    for heading, topic in (("ENVIRONMENT", ENVIRONMENT), ("EXIT STATUS", EXIT_CODES)):
        yield f".SH {heading}"
        for term, told in topic.items():
            yield from (".TP", rf".B {_text(term)}", _text(told))
    yield from (".SH SEE ALSO", ".BR dig (1),", ".BR tailscale (8)")


def _command(name: str, command: click.Command, top: click.Context) -> Iterator[str]:
    with click.Context(command, info_name=name, parent=top) as context:
        words = [each for each in command.collect_usage_pieces(context) if each != command.options_metavar]
        yield from (".TP", rf"\fBmd {name}\fR {_text(' '.join(words))}".rstrip())
        about, _, examples = (command.help or COMMANDS[name]).partition("\b")
        yield _text(" ".join(about.split()))
        for option in command.params:
            if isinstance(option, click.Option) and option not in COMMON:
                yield from (".RS", *_option(option, context), ".RE")
        lines = [line.strip() for line in examples.splitlines()[2:] if line.strip()]
        if lines:
            yield from (".RS", ".PP", ".nf", *(_text(line) for line in lines), ".fi", ".RE")


def _option(option: click.Option, context: click.Context) -> Iterator[str]:
    record = option.get_help_record(context)
    if record is not None:
        yield from (".TP", rf".B {_text(record[0])}", _text(" ".join(record[1].split())))


def _text(text: str) -> str:
    """Escapes text for roff: backslashes, hyphens, quotes, and a request character at the start of a line."""
    escaped = text.replace("\\", r"\e").replace("-", r"\-").replace("…", "...").replace("'", r"\(aq")
    escaped = escaped.replace("^", r"\(ha").replace("~", r"\(ti").replace('"', r"\(dq")
    return rf"\&{escaped}" if escaped.startswith((".", "'")) else escaped


if __name__ == "__main__":
    print(page(), end="")  # noqa: T201 - a program for those who work on mddns
