"""What a forked child does with the descriptors that are its parent's business."""

from __future__ import annotations

import os
from collections.abc import Iterable


def let_go(descriptors: Iterable[int]) -> None:
    """Replaces each by nothing, so that ports and connections end when the parent does.

    Closing would leave Python objects behind that close the same numbers once more. Negative ones are closed already.
    """
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in descriptors:
        if descriptor >= 0:
            os.dup2(nothing, descriptor, inheritable=False)
    os.close(nothing)
