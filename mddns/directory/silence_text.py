"""Writes and reads the sentence that names the silent peers.

The sentence is the extra text of an Extended DNS Error (RFC 8914). So an answer from the holder of our own host tells
as much as a query to every peer would.
"""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

_NAMED: Final = 8
_SENTENCE: Final = r"(\d{1,6}) of (\d{1,6}) peers? w(?:as|ere) silent: (.*?)(?: and \d+ more)?"


class Silence(NamedTuple):
    """The registries that did not answer, and how many peers were queried."""

    names: tuple[str, ...]
    asked: int


def sentence(names: Sequence[str], asked: int) -> str:
    """``2 of 12 peers were silent: nas, phone``."""
    verb = "peer was" if asked == 1 else "peers was" if len(names) == 1 else "peers were"
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{len(names)} of {asked} {verb} silent: {', '.join(names[:_NAMED])}{more}"


def read_sentence(text: str) -> Silence | None:
    """Reads what :func:`sentence` wrote; None for any other text. Names that were left out come as ``?``."""
    found = re.fullmatch(_SENTENCE, text, re.DOTALL)  # compiled on use, which is rare
    if not found:
        return None
    count, asked = int(found[1]), int(found[2])
    names = [name for name in found[3].split(", ") if name]
    return Silence((*names, *("?" for _ in range(min(count, 1000) - len(names)))), asked)
