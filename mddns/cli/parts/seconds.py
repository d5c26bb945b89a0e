"""The type of options whose value is a number of seconds."""

from __future__ import annotations

import math
from collections.abc import Callable

import click


def seconds(option: str) -> Callable[[str], float]:
    """Returns a parser of seconds, 0 or more. `option` is the name in error messages."""

    def read(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not 0 <= number < math.inf:
            raise click.UsageError(f"{option} {text!r}: must be a number of seconds, 0 or more")
        return number

    return read
