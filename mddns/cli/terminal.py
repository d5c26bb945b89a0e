"""Between us and a terminal: talk on stderr, and nothing from the network that could steer it."""

from __future__ import annotations

import sys

import click

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
