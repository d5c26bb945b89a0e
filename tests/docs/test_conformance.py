"""docs/conformance.md names sections, vectors and tests that exist, and shows what docs/site/states.py draws."""

from __future__ import annotations

import ast
import json
import re
import runpy
from typing import Final, NamedTuple

import pytest
from docblocks import anchors, prose, table
from places import ROOT

TEXT: Final = (ROOT / "docs/conformance.md").read_text("utf-8")
PROTOCOL: Final = (ROOT / "docs/protocol.md").read_text("utf-8")
ROLES: Final = {"Responder": "R", "Resolver": "L", "Watcher": "W"}
WORDS: Final = frozenset(
    ("MUST", "MUST NOT", "REQUIRED", "SHALL", "SHALL NOT", "SHOULD", "SHOULD NOT", "RECOMMENDED", "MAY", "OPTIONAL")
)
VECTORS: Final = [
    vector["name"] for vector in json.loads((ROOT / "docs/protocol-vectors.json").read_text("utf-8"))["vectors"]
]


class Demand(NamedTuple):
    """A row. `own_word`: whether its key word is the specification's, so that it is in bold."""

    number: str
    word: str
    own_word: bool
    demand: str
    anchor: str
    example: str


def demands(role: str) -> list[Demand]:
    """The rows of a role."""
    found = []
    for row in table(TEXT, role):
        link = re.fullmatch(r"\[(\d+)\]\(protocol\.md#([\w-]+)\)", row["section"])
        assert link, row
        word = row["word"].strip("*")
        found.append(Demand(row["number"], word, word != row["word"], row["demand"], link[2], row["example"]))
    return found


DEMANDS: Final = {role: demands(role) for role in ROLES}
ALL: Final = [pytest.param(each, id=each.number) for rows in DEMANDS.values() for each in rows]


def section(anchor: str) -> str:
    """The text below a heading of the specification, up to the next heading."""
    lines: list[str] = []
    below = False
    for _, line in prose(PROTOCOL):
        if line.startswith("#"):
            below = anchor in anchors(line)
        elif below:
            lines.append(line)
    return " ".join(" ".join(lines).split())


@pytest.mark.parametrize(("role", "letter"), ROLES.items(), ids=list(ROLES))
def test_the_numbers_of_a_role_are_consecutive(role: str, letter: str) -> None:
    assert [each.number for each in DEMANDS[role]] == [f"{letter}{n}" for n in range(1, len(DEMANDS[role]) + 1)]


@pytest.mark.parametrize("demand", ALL)
def test_a_key_word_is_of_rfc_2119_and_a_bold_one_is_in_the_section(demand: Demand) -> None:
    assert demand.word in WORDS
    if demand.own_word:
        assert re.search(rf"\b{demand.word}\b(?! NOT)", section(demand.anchor))


@pytest.mark.parametrize("demand", ALL)
def test_a_demand_is_one_sentence(demand: Demand) -> None:
    assert demand.demand.endswith(".")
    assert not re.search(r"\. [A-Z]", demand.demand)


@pytest.mark.parametrize("demand", ALL)
def test_the_section_of_a_demand_exists(demand: Demand) -> None:
    assert demand.anchor in anchors(PROTOCOL)


@pytest.mark.parametrize("demand", ALL)
def test_the_example_of_a_demand_exists(demand: Demand) -> None:
    path, has_test, name = demand.example.partition("::")
    if not has_test:
        assert demand.example in VECTORS
        return
    functions = {
        node.name
        for node in ast.walk(ast.parse((ROOT / path).read_text("utf-8")))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    }
    assert name.startswith("test_")
    assert name in functions


def test_each_vector_shows_a_demand() -> None:
    assert set(VECTORS) <= {each.example for rows in DEMANDS.values() for each in rows}


def test_the_drawings_are_what_the_script_draws_and_each_is_shown() -> None:
    drawn = runpy.run_path(str(ROOT / "docs/site/states.py"))["files"]()
    assert {path.name for path in drawn} == {path.name for path in (ROOT / "docs").glob("states-*.svg")}
    for path, content in drawn.items():
        assert path.read_text("utf-8") == content, "draw them anew: python docs/site/states.py"
        assert f"]({path.name})" in TEXT
