"""Updates the figures in README.md and docs/: a line with figures ends with their keys, `<!-- bench: KEY -->`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from . import HERE, targets

ROOT: Final = HERE.parent
DOCUMENTS: Final = (ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md")))
MARK: Final = re.compile(r"<!-- bench: ([\w. -]+?) -->\s*\|?\s*$")
FIGURE: Final = re.compile(
    r"(?<![\w.])(\d[\d,]*(?:\.\d+)?)\s*(×|x\b|times\b|%|ms\b|µs\b|s\b|qps\b|MiB\b|queries\b)", re.ASCII
)


def measured(results: Mapping[str, Any], key: str, unit: str) -> float | None:
    """The value of a key in the unit of the document; None if it was not measured."""
    value = targets.at(results, key)
    if not isinstance(value, int | float):
        return None
    return value * 100 if unit == "%" and not key.endswith("percent") else value


def decimals(figure: str) -> int:
    """The number of decimals of a figure as written."""
    return len(figure.replace(",", "").partition(".")[2])


def rewritten(text: str, results: Mapping[str, Any]) -> str:
    """A document with the figures of the results, each with as many decimals as before."""
    return "".join(_line(line, results) for line in text.splitlines(keepends=True))


def _line(line: str, results: Mapping[str, Any]) -> str:
    mark = MARK.search(line)
    if mark is None:
        return line
    keys = iter(mark[1].split())

    def anew(found: re.Match[str]) -> str:
        figure, unit = found[1], found[2]
        value = measured(results, next(keys, ""), unit)
        if value is None:
            return found[0]
        return f"{round(value, decimals(figure)):,.{decimals(figure)}f}{found[0][len(figure) :]}"

    return FIGURE.sub(anew, line[: mark.start()]) + line[mark.start() :]


def missing(results: Mapping[str, Any]) -> list[str]:
    """The keys that documents contain and the results lack."""
    keys = {
        key
        for path in DOCUMENTS
        for line in path.read_text("utf-8").splitlines()
        if (mark := MARK.search(line))
        for key in mark[1].split()
    }
    return sorted(key for key in keys if measured(results, key, "") is None)


def write(results: Mapping[str, Any]) -> list[str]:
    """Writes the new figures; returns the names of the changed documents."""
    changed = []
    for path in DOCUMENTS:
        before = path.read_text("utf-8")
        if (after := rewritten(before, results)) != before:
            path.write_text(after, "utf-8")
            changed.append(path.relative_to(ROOT).as_posix())
    return changed
