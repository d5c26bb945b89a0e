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


_as_json = False


def talk_json(wanted: bool) -> None:
    """From now on, what is said is JSON, an object a line; or not."""
    global _as_json
    _as_json = wanted


def talk(text: str, level: str = "info", **more: str) -> None:
    """A line for people, on stderr, or for programs. Where nobody can read it, what we do goes on."""
    line = _json_line(text, level, more) if _as_json else f"md: {clean(text)}"
    try:
        click.echo(line, err=True)
    except OSError:
        silence(2)


def _json_line(text: str, level: str, more: dict[str, str]) -> str:
    import json
    import time

    now = time.time()
    ts = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03d}Z"
    # All but printable ASCII is escaped; a stray octet of a file name has to survive that too.
    plain = text.encode("utf-8", "backslashreplace").decode()
    return json.dumps({"ts": ts, "level": level, **more, "message": plain})


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
