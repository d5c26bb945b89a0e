"""Paths of the test folder and of the repository."""

from pathlib import Path

TESTS = Path(__file__).parent
ROOT = TESTS.parent
