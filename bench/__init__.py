"""How fast mddns is beside others: one command, one run, ratios within it. See README.md beside this file."""

from __future__ import annotations

from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
WORK: Final = HERE / "work"  # what setup and build make; never committed
SITE: Final = WORK / "site"  # other people's Python packages, for their own rows alone
RESULTS: Final = HERE / "results"
