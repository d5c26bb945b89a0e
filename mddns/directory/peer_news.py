"""Log lines about peers that became silent, are gone, or answer again: one for each change, not for each query."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Final, NamedTuple

from .directory import Directory
from .peer_memory import GONE_AFTER, Standing

_NAMED: Final = 8


class _State(enum.Enum):
    ANSWERS = "answers"
    SILENT = "silent"
    GONE = "gone"


_TOLD: Final = {
    _State.ANSWERS: ("peer-back", "answers again"),
    _State.SILENT: ("peer-silent", "silent"),
    _State.GONE: ("peer-gone", f"silent for {GONE_AFTER:g} s, services dropped"),
}


class Item(NamedTuple):
    """One change: the name of the log event, and its text."""

    event: str
    text: str

    def about(self, names: Sequence[str]) -> Item:
        """The same item with the names of the peers, at most 8."""
        return self._replace(text=f"{self.text}: {_names(names)}")


class News:
    """Finds the changes in the state of a directory's peers between two calls."""

    def __init__(self) -> None:
        self._states: dict[str, _State] = {}
        self._stirred = -1

    def since(self, directory: Directory, now: float) -> list[Item]:
        """Returns the changes since the last call, at most one item of each kind."""
        before, memory = self._states, directory.memory
        # While the directory is unchanged, only a silent peer changes its state: it becomes gone.
        if directory.stirred == self._stirred and _State.SILENT not in before.values():
            return []
        self._stirred = directory.stirred
        self._states = states = {}
        changed: dict[_State, list[str]] = {state: [] for state in _State}
        for peer in directory.peers:
            if memory.gone(peer.id, now):
                state = _State.GONE
            elif memory.silent(peer.id, now):
                state = _State.SILENT
            elif memory.standing(peer.id, now) is Standing.REGISTRY:
                state = _State.ANSWERS
            else:
                continue
            states[peer.id] = state
            if before.get(peer.id, _State.ANSWERS) is not state:
                changed[state].append(peer.shown)
        return [Item(*_TOLD[state]).about(names) for state, names in changed.items() if names]


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
