"""Draws docs/architecture.svg from the imports of mddns: `python docs/site/drawing.py`.

A box is a package, in the order of the layers contract in pyproject.toml. An arrow points to a package that is
imported. An import that other arrows lead to as well has none of its own, else there were two hundred.
"""

from __future__ import annotations

import ast
import textwrap
import tomllib
from html import escape
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
PACKAGE: Final = ROOT / "mddns"
SVG: Final = ROOT / "docs" / "architecture.svg"

SHELL: Final = "mddns"  # the modules of the root, which are the public API, drawn as one box
PURPOSES: Final = {SHELL: "The public API: registries, resolvers, watches."}
WIDTH, ROW, BOX, LEFT = 1000, 50, 620, 20
MOST_LETTERS: Final = 84
COLOURS: Final = {True: "#e8f1fb", False: "#f7f2e6"}


def layers() -> list[list[str]]:
    """The packages from the top layer down; the modules of the root become one."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    rows: list[list[str]] = []
    for layer in next(each["layers"] for each in contracts if each["id"] == "layers"):
        row = [name if (PACKAGE / name).is_dir() else SHELL for name in layer.split(" | ") if name != "__main__"]
        row = [name for name in dict.fromkeys(row) if not any(name in other for other in rows)]
        if row:
            rows.append(row)
    return rows


def without_io() -> set[str]:
    """The packages that have no I/O as a whole."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    sources = next(each["source_modules"] for each in contracts if each["id"] == "no-io")
    return {name.removeprefix("mddns.") for name in sources if name.count(".") == 1}


def imports() -> dict[str, set[str]]:
    """By package: the other packages that its files import, be it within a function."""
    found: dict[str, set[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).parts
        own = parts[0] if len(parts) > 1 else "cli" if path.stem == "__main__" else SHELL
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level == len(parts):
                names = [node.module.partition(".")[0]] if node.module else [alias.name for alias in node.names]
                others = {name if (PACKAGE / name).is_dir() else SHELL for name in names}
                # What a package below imports of the root is the version alone.
                found.setdefault(own, set()).update(others - {own} if own == "cli" else others - {own, SHELL})
    return found


def arrows(uses: dict[str, set[str]]) -> list[tuple[str, str]]:
    """The imports without those that other imports lead to as well."""

    def reached(name: str) -> set[str]:
        return {far for each in uses.get(name, ()) for far in (each, *reached(each))}

    return [
        (name, other)
        for name, others in sorted(uses.items())
        for other in sorted(others)
        if not any(other in reached(each) for each in others - {other})
    ]


def purpose(name: str) -> str:
    """The first sentence of a package's docstring, as much of it as fits."""
    if name in PURPOSES:
        return PURPOSES[name]
    text = ast.get_docstring(ast.parse((PACKAGE / name / "__init__.py").read_text("utf-8"))) or ""
    sentence = text.split("\n\n")[0].replace("\n", " ").partition(". ")[0].removesuffix(".")
    return textwrap.shorten(sentence, MOST_LETTERS, placeholder=" …")


def draw() -> str:
    """The whole drawing."""
    rows, uses, pure = layers(), imports(), without_io()
    order = [name for row in rows for name in row]
    top = {name: 70 + ROW * number for number, name in enumerate(order)}
    height = 70 + ROW * len(order) + 10
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif">',
        '<defs><marker id="tip" markerWidth="7" markerHeight="6" refX="6" refY="3" orient="auto">'
        '<path d="M0,0 L7,3 L0,6 z" fill="#667"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="26" font-size="15" font-weight="bold" fill="#222">The packages of mddns: '
        "each imports only packages below it</text>",
        f'<rect x="{LEFT}" y="40" width="14" height="14" fill="{COLOURS[True]}" stroke="#889"/>'
        f'<text x="{LEFT + 20}" y="52" font-size="12" fill="#444">no socket, event loop or clock</text>',
        f'<rect x="{LEFT + 230}" y="40" width="14" height="14" fill="{COLOURS[False]}" stroke="#889"/>'
        f'<text x="{LEFT + 250}" y="52" font-size="12" fill="#444">I/O, or a part of it is</text>',
    ]
    for name in order:
        y = top[name]
        out.append(
            f'<rect x="{LEFT}" y="{y}" width="{BOX}" height="{ROW - 14}" rx="4" '
            f'fill="{COLOURS[name in pure]}" stroke="#889"/>'
            f'<text x="{LEFT + 10}" y="{y + 23}" font-size="14" font-weight="bold" fill="#222">{escape(name)}</text>'
            f'<text x="{LEFT + 100}" y="{y + 22}" font-size="11" fill="#444">{escape(purpose(name))}</text>'
        )
    right = LEFT + BOX
    for number, (name, other) in enumerate(sorted(arrows(uses), key=lambda each: top[each[1]] - top[each[0]])):
        start, end = top[name] + 22, top[other] + 12
        out_by = 30 + (end - start) * 0.42 + number % 3 * 5
        out.append(
            f'<path d="M{right},{start} C{right + out_by:.0f},{start} {right + out_by:.0f},{end} {right + 3},{end}" '
            'fill="none" stroke="#667" stroke-width="1.1" marker-end="url(#tip)"/>'
        )
    return "\n".join((*out, "</svg>")) + "\n"


if __name__ == "__main__":
    SVG.write_text(draw(), "utf-8")
