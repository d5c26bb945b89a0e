"""docs/architecture.md names files and functions that exist, all packages, and has a drawing of today's imports."""

from __future__ import annotations

import ast
import re
import runpy
from typing import Final

import pytest
from docblocks import table
from places import ROOT

TEXT: Final = (ROOT / "docs/architecture.md").read_text("utf-8")
# `mddns/zone/zone.py` and, behind it or not, `Zone.node`.
STEPS: Final = sorted(set(re.findall(r"`((?:mddns|tests|docs)/[\w./]+)`(?:\s`([A-Z_a-z][\w.]*)`)?", TEXT)))


def defined(path: str) -> set[str]:
    """The functions, classes and methods of a file, as ``Zone.node``."""
    names = set()
    for node in ast.parse((ROOT / path).read_text("utf-8")).body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            names.add(node.name)
        elif isinstance(node, ast.ClassDef):
            names.add(node.name)
            names |= {
                f"{node.name}.{each.name}"
                for each in node.body
                if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef))
            }
    return names


@pytest.mark.parametrize(("path", "name"), STEPS, ids=[f"{path} {name}".strip() for path, name in STEPS])
def test_what_it_names_exists(path: str, name: str) -> None:
    assert (ROOT / path).exists()
    assert not name or name in defined(path)


def test_three_walks_have_steps() -> None:
    walks = TEXT.split("\n## Walk ")[1:]
    assert len(walks) == 3
    assert all(len(re.findall(r"`mddns/[\w./]+\.py`\s`", walk)) >= 6 for walk in walks)


def test_its_table_has_every_package() -> None:
    packages = {f"mddns/{path.parent.name}" for path in (ROOT / "mddns").glob("*/__init__.py")} | {"mddns"}
    assert {row["package"].strip("`") for row in table(TEXT, "The packages")} == packages


def test_the_drawing_is_of_todays_imports() -> None:
    drawn = runpy.run_path(str(ROOT / "docs/site/drawing.py"))["draw"]()
    kept = (ROOT / "docs/architecture.svg").read_text("utf-8")
    assert drawn == kept, "draw it anew: python docs/site/drawing.py"
