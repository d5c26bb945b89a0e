"""Compares the speed of mddns with other programs: one command, one run, ratios within the run. See README.md here."""

from __future__ import annotations

from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
WORK: Final = HERE / "work"  # files that setup and build make; not committed
SITE: Final = WORK / "site"  # third-party Python packages, used only for their own rows
RESULTS: Final = HERE / "results"
