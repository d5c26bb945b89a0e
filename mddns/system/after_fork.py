"""Releases the descriptors of its parent in a forked child."""

from __future__ import annotations

import os
from collections.abc import Iterable


def let_go(descriptors: Iterable[int]) -> None:
    """Replaces each descriptor by the null device, so that ports and connections close when the parent ends.

    It does not close them, because Python objects in the child would close the same numbers again. It skips negative
    descriptors, which are closed already.
    """
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in descriptors:
        if descriptor >= 0:
            os.dup2(nothing, descriptor, inheritable=False)
    os.close(nothing)
