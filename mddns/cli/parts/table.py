"""Columns of text, as wide as their content. On a narrow terminal one column is shortened."""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from .terminal import clean, is_terminal

_GAP: Final = "  "
_BOLD: Final = "\x1b[1m{}\x1b[0m"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], elastic: int, width: int | None = None) -> Iterator[str]:
    """Yields the lines of a table for stdout. A pipe gets all cells whole; `elastic` is the column to shorten.

    If `width` is given, longer lines are cut.
    """
    if not is_terminal():
        yield from columns(head, rows)
        return
    lines = columns(head, rows, elastic, width or _terminal_width())
    first, *others = lines if width is None else (shortened(line, width) for line in lines)
    yield _BOLD.format(first) if _has_color() else first
    yield from others


def columns(
    head: Sequence[str], rows: Iterable[Sequence[str]], elastic: int = 0, width: int | None = None
) -> Iterator[str]:
    """Yields lines of at most `width` columns, if shortening the column `elastic` is enough for that."""
    lines = [list(head), *([clean(cell) for cell in row] for row in rows)]
    widths = [max(_width(line[column]) for line in lines) for column in range(len(head))]
    if width is not None and (over := sum(widths) + len(_GAP) * (len(head) - 1) - width) > 0:
        widths[elastic] = max(len(head[elastic]), widths[elastic] - over)
        for line in lines:
            line[elastic] = shortened(line[elastic], widths[elastic])
    for line in lines:
        cells = (cell + " " * (wide - _width(cell)) for cell, wide in zip(line, widths, strict=True))
        yield _GAP.join(cells).rstrip()


def _width(text: str) -> int:
    """Returns the terminal columns of a text: two for East Asian wide characters, none for combining ones (UAX 11)."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def shortened(text: str, width: int) -> str:
    """Returns `text` cut to `width` columns, with a mark at the cut."""
    if _width(text) <= width:
        return text
    mark = _mark()[:width]
    left, end = width - len(mark), 0
    while (left := left - _width(text[end])) >= 0:
        end += 1
    return text[:end] + mark


def _mark() -> str:
    try:
        "…".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return "..."
    return "…"


def _terminal_width() -> int | None:
    told = os.environ.get("COLUMNS", "")
    if told.isascii() and told.isdecimal() and int(told):
        return int(told)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or None
    except (OSError, ValueError):
        return None


def _has_color() -> bool:
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
