"""What commands print: services on stdout, talk on stderr. Whatever came from the network is escaped."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

import click

from ..model import Service
from .options import Options
from .streams import silence


def clean(text: str) -> str:
    """`text` with everything that could steer a terminal escaped: control and format characters, stray octets."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # an octet that was no UTF-8
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def talk(text: str) -> None:
    """A line for people, on stderr. Where nobody can read it, what we do goes on."""
    try:
        click.echo(f"md: {clean(text)}", err=True)
    except OSError:
        silence(2)


def print_services(services: Sequence[Service], options: Options, unasked: str = "table") -> None:
    """Services in the format asked for, `unasked` where none was."""
    output = options.choose(unasked=unasked)
    if output == "name":  # what scripts wait for, so nothing is loaded for it
        text = "\n".join(service.endpoint for service in services)
    else:
        from .formats import in_format

        text = "\n".join(in_format(output, services, options.settings.apex, time.time()))
    if text:
        click.echo(text)


def fail_softly(error: click.ClickException) -> None:
    """Shows a usage error as click does, without what somebody's words could do to the terminal."""
    # Final for type checkers only; each line by itself, since help comes this way too.
    error.message = "\n".join(map(clean, error.message.split("\n")))  # type: ignore[misc]
    try:
        error.show()
    except OSError:
        silence(2)


def is_terminal() -> bool:
    """Whether somebody looks at stdout."""
    return sys.stdout is not None and sys.stdout.isatty()
