"""A finding of ``md doctor``: its state, its message, and the command that fixes it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

OK: Final = "ok"
WARN: Final = "warn"
FAIL: Final = "fail"


class Finding(NamedTuple):
    """The result of one check.

    ``fix`` has the commands that fix it, one per line; "" if nothing is wrong. ``data`` has the values of the message,
    for programs. ``unasked`` is true if the problem kept md from querying the network.
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
    """Returns a finding: no problem."""
    return Finding(check, OK, what, data=data)


def warn(check: str, what: str, fix: str, **data: Any) -> Finding:
    """Returns a finding: a problem, now or later, with something that is not essential."""
    return Finding(check, WARN, what, fix, data)


def fail(check: str, what: str, fix: str, *, unasked: bool = False, **data: Any) -> Finding:
    """Returns a finding: something essential does not work."""
    return Finding(check, FAIL, what, fix, data, unasked)


def exit_code(findings: Iterable[Finding]) -> int:
    """Returns 3 if the network could not be queried, else 1 if a check failed, else 0. Warnings are not failures."""
    failed = [finding for finding in findings if finding.state == FAIL]
    return 3 if any(finding.unasked for finding in failed) else 1 if failed else 0


def some(names: Iterable[str], most: int = 8) -> str:
    """Returns ``alpha, bravo and 3 more``."""
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"
