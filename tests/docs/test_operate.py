"""What docs/operate.md says of numbers, events and files is so."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest
from docblocks import ROOT, table

TEXT: Final = (ROOT / "docs/operate.md").read_text("utf-8")


@pytest.mark.parametrize("row", table(TEXT, "Limits"), ids=lambda row: row["name"])
def test_each_limit_is_the_codes_own(row: Mapping[str, str]) -> None:
    module, _, name = row["name"].strip("`").rpartition(".")
    assert getattr(importlib.import_module(f"mddns.{module}"), name) == float(row["limit"])


def test_the_events_are_those_that_the_code_logs() -> None:
    told = {event for row in table(TEXT, "Logs") for event in re.findall(r"[a-z-]+", row["event"])}
    logged = set()
    for path in (ROOT / "mddns").rglob("*.py"):
        text = path.read_text("utf-8")
        logged |= set(re.findall(r'"event": "([a-z-]+)"', text))
        if path.name == "peer_news.py":
            logged |= set(re.findall(r'\("(peer-[a-z]+)"', text))
    assert told == logged


def test_the_files_that_it_names_are_there() -> None:
    for path in re.findall(r"\bcontrib/[\w./-]+", TEXT):
        assert Path(ROOT / path).exists(), path
