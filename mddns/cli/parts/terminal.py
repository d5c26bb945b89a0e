"""Messages on stderr, and escaping of text from the network that could control the terminal."""

from __future__ import annotations

import sys

import click

from .streams import silence


def clean(text: str) -> str:
    """Returns `text` with control characters, format characters and octets that are not UTF-8 escaped."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # an octet that is not UTF-8
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


_as_json = False


def talk_json(wanted: bool) -> None:
    """Sets whether `talk` prints JSON, one object per line, from now on."""
    global _as_json
    _as_json = wanted


def talk(text: str, level: str = "info", **more: str) -> None:
    """Prints a message on stderr, as text or JSON. A closed stderr is no error."""
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
    # json.dumps escapes all but printable ASCII; octets of file names that are not UTF-8 need it done before.
    plain = text.encode("utf-8", "backslashreplace").decode()
    return json.dumps({"ts": ts, "level": level, **more, "message": plain})


def fail_softly(error: click.ClickException) -> None:
    """Prints a usage error as click does, with the user's words escaped."""
    # Final for type checkers only; line by line, since help texts come this way too.
    error.message = "\n".join(map(clean, error.message.split("\n")))  # type: ignore[misc]
    try:
        error.show()
    except OSError:
        silence(2)


def is_terminal() -> bool:
    """Whether stdout is a terminal."""
    return sys.stdout is not None and sys.stdout.isatty()
