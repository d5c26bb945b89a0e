"""A lock by which tests marked ``alone`` run alone, although pytest-xdist runs the others in parallel."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_GATE: Final = Path(__file__)
_FLOOR: Final = Path(__file__).with_name("__init__.py")
_INSIDE: Final = "MDDNS_TEST_TURN"


@contextmanager
def turn(alone: bool) -> Iterator[None]:
    """Waits until a test may run: an `alone` test waits until all others have ended, and the others wait for it.

    A waiting `alone` test holds the gate, so that no other test starts before it. A pytest run within a test does not
    wait.
    """
    if "PYTEST_XDIST_WORKER" not in os.environ or _INSIDE in os.environ:
        yield
        return
    with _GATE.open() as gate, _FLOOR.open() as floor:
        fcntl.flock(gate, fcntl.LOCK_EX)
        fcntl.flock(floor, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(gate, fcntl.LOCK_UN)
        os.environ[_INSIDE] = "1"
        try:
            yield
        finally:
            del os.environ[_INSIDE]
