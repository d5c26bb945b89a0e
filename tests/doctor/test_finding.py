"""Findings as values, and the exit code that they make."""

from __future__ import annotations

import pytest

from mddns.doctor.finding import Finding, exit_code, fail, ok, some, warn

OK = ok("a", "well")
WARN = warn("b", "so so", "mend it")
FAIL = fail("c", "broken", "mend it")
UNASKED = fail("d", "out of reach", "mend it", unasked=True)


@pytest.mark.parametrize(
    ("findings", "code"),
    [([], 0), ([OK], 0), ([OK, WARN], 0), ([WARN, FAIL], 1), ([UNASKED], 3), ([FAIL, UNASKED, OK], 3)],
)
def test_warnings_are_no_failure_and_a_network_out_of_reach_counts_most(findings: list[Finding], code: int) -> None:
    assert exit_code(findings) == code


def test_json_has_null_where_nothing_has_to_be_mended() -> None:
    assert ok("a", "well", n=1).to_json() == {
        "check": "a", "state": "ok", "message": "well", "fix": None, "data": {"n": 1},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("count", "text"), [(0, ""), (1, "0"), (8, "0, 1, 2, 3, 4, 5, 6, 7"), (10, "0, 1, 2, 3, 4, 5, 6, 7 and 2 more")]
)
def test_many_names_are_cut(count: int, text: str) -> None:
    assert some(map(str, range(count))) == text
