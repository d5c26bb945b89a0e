"""Columns of text: as wide as what stands in them, and on a terminal that is too narrow, one of them shortened."""

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
    """The lines of a table for stdout. A pipe gets every cell whole; `elastic` is the column that may give way.

    No line is wider than `width`, where that is given: what does not fit is cut off.
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
    """Lines of at most `width` columns where that can be had by shortening the column `elastic`."""
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
    """How many columns of a terminal it takes: East Asian characters two, combining ones none (UAX 11)."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def shortened(text: str, width: int) -> str:
    """`text` in at most `width` columns, with a mark where something is cut off."""
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
