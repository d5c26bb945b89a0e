"""What ``md doctor`` finds: a state, a sentence, and what mends it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

OK: Final = "ok"
WARN: Final = "warn"
FAIL: Final = "fail"


class Finding(NamedTuple):
    """What one check found.

    ``fix`` are the commands that mend it, a line each, and "" where nothing has to be. ``data`` is what the sentence
    was made of, for programs. ``unasked``: it says that the network could not be asked.
    """

    check: str
    state: str
    what: str
    fix: str = ""
    data: Mapping[str, Any] = {}
    unasked: bool = False

    def to_json(self) -> dict[str, Any]:
        """The JSON shape that ``md doctor -o json`` prints."""
        return {
            "check": self.check,
            "state": self.state,
            "message": self.what,
            "fix": self.fix or None,
            "data": dict(self.data),
        }


def ok(check: str, what: str, **data: Any) -> Finding:
    """All is well."""
    return Finding(check, OK, what, data=data)


def warn(check: str, what: str, fix: str, **data: Any) -> Finding:
    """Something does not work, or will not, that one may do without."""
    return Finding(check, WARN, what, fix, data)


def fail(check: str, what: str, fix: str, *, unasked: bool = False, **data: Any) -> Finding:
    """Something is broken."""
    return Finding(check, FAIL, what, fix, data, unasked)


def exit_code(findings: Iterable[Finding]) -> int:
    """3 where the network could not be asked, else 1 where something is broken, else 0: warnings are no failure."""
    failed = [finding for finding in findings if finding.state == FAIL]
    return 3 if any(finding.unasked for finding in failed) else 1 if failed else 0


def some(names: Iterable[str], most: int = 8) -> str:
    """``alpha, bravo and 3 more``."""
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"
