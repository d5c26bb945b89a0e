"""Compares the speed of mddns with other programs: one command, one run, ratios within it. See README.md here."""

from __future__ import annotations

from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
WORK: Final = HERE / "work"  # the output of setup and build; never committed
SITE: Final = WORK / "site"  # Python packages of other projects, for their own rows only
RESULTS: Final = HERE / "results"
