"""A number of seconds, as an option's value."""

from __future__ import annotations

import math
from collections.abc import Callable

import click


def seconds(option: str) -> Callable[[str], float]:
    """Reads seconds, 0 or more; `option` is what messages call it."""

    def read(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not 0 <= number < math.inf:
            raise click.UsageError(f"{option} {text!r}: seconds are wanted, 0 or more")
        return number

    return read
