"""Paths for tests: the folder of the tests, and the repository."""

from pathlib import Path

TESTS = Path(__file__).parent
ROOT = TESTS.parent
