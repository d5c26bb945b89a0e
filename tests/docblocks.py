"""Reads Markdown for tests: fenced blocks, tables and links, each with its line number."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent


class Block(NamedTuple):
    """A fenced block. `info` has the words after the opening fence, `heading` is the heading above it."""

    info: tuple[str, ...]
    text: str
    line: int
    heading: str

    @property
    def language(self) -> str:
        return self.info[0] if self.info else ""

    def options(self) -> dict[str, str]:
        """The ``key=value`` words of the info string."""
        return dict(word.split("=", 1) for word in self.info if "=" in word)


class Link(NamedTuple):
    """A link or image of a document."""

    target: str
    line: int


def blocks(text: str) -> list[Block]:
    """Returns the fenced blocks of a document. ValueError if one is not closed."""
    found: list[Block] = []
    heading, begun, info = "", 0, ""
    for number, line in enumerate(text.splitlines(), 1):
        if not begun:
            if line.startswith("```"):
                begun, info = number, line[3:]
            elif line.startswith("#"):
                heading = line.lstrip("# ")
        elif line == "```":
            lines = text.splitlines()[begun : number - 1]
            found.append(Block(tuple(info.split()), "".join(f"{one}\n" for one in lines), begun, heading))
            begun = 0
    if begun:
        raise ValueError(f"the block of line {begun} is not closed")
    return found


def prose(text: str) -> Iterator[tuple[int, str]]:
    """Yields the lines outside fenced blocks, with their numbers."""
    fenced = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("```"):
            fenced = not fenced
        elif not fenced:
            yield number, line


def links(text: str) -> list[Link]:
    """Returns every ``[text](target)`` outside fenced blocks and inline code."""
    found = []
    for number, line in prose(text):
        bare = re.sub(r"`[^`]*`", "", line)
        found += [Link(target, number) for target in re.findall(r"\]\(([^()\s]+)\)", bare)]
    return found


def anchors(text: str) -> set[str]:
    """Returns the anchors of the headings: lower case, no punctuation, hyphens for spaces."""
    made = set()
    for _, line in prose(text):
        if line.startswith("#"):
            words = re.sub(r"[^\w\- ]", "", line.lstrip("#").strip().lower())
            made.add(words.replace(" ", "-"))
    return made


def table(text: str, heading: str) -> list[dict[str, str]]:
    """Returns the first table below `heading`: a dict per row, by column name, without backquotes."""
    rows: list[list[str]] = []
    below = False
    for _, line in prose(text):
        if line.startswith("#"):
            if below:
                break
            below = line.lstrip("# 0123456789.") == heading
        elif below and line.startswith("|"):
            cells = re.split(r"(?<!\\)\|", line.strip().strip("|"))
            rows.append([cell.strip().replace("\\|", "|").replace("`", "") for cell in cells])
        elif below and rows:
            break
    if len(rows) < 3:
        raise ValueError(f"there is no table below {heading!r}")
    return [dict(zip(rows[0], row, strict=True)) for row in rows[2:]]
