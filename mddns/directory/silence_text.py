"""Who was silent, as a sentence for people, and back.

The sentence travels in the extra text of an Extended DNS Error, so that an answer from our own host's
holder tells as much as asking everybody ourselves would have.
"""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

_NAMED: Final = 8
_SENTENCE: Final = r"(\d{1,6}) of (\d{1,6}) peers? w(?:as|ere) silent: (.*?)(?: and \d+ more)?"


class Silence(NamedTuple):
    """The registries that owe an answer, of how many that were asked."""

    names: tuple[str, ...]
    asked: int


def sentence(names: Sequence[str], asked: int) -> str:
    """``2 of 12 peers were silent: nas, phone``."""
    verb = "peer was" if asked == 1 else "peers was" if len(names) == 1 else "peers were"
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{len(names)} of {asked} {verb} silent: {', '.join(names[:_NAMED])}{more}"


def read_sentence(text: str) -> Silence | None:
    """What :func:`sentence` wrote, None for any other text. Names that it left out come as ``?``."""
    found = re.fullmatch(_SENTENCE, text, re.DOTALL)  # compiled when it is wanted, and that is rarely
    if not found:
        return None
    count, asked = int(found[1]), int(found[2])
    names = [name for name in found[3].split(", ") if name]
    return Silence((*names, *("?" for _ in range(min(count, 1000) - len(names)))), asked)
