"""When a service counts as healthy: steps of one check, without a clock."""

from __future__ import annotations

from mddns.base.health_check import Check
from mddns.registry.health_verdict import FIRST_INTERVAL, UNCHECKED, Vitality

TWICE = Check("/healthz", up=2, down=2)


def test_it_is_held_back_until_it_has_passed() -> None:
    vitality = Vitality(Check())
    assert vitality.held == UNCHECKED
    assert vitality.result(None)
    assert vitality.held == ""


def test_it_passes_as_often_in_a_row_as_wanted() -> None:
    vitality = Vitality(TWICE)
    for problem in (None, "refused", None):
        vitality.result(problem)
        assert vitality.held
    vitality.result(None)
    assert not vitality.held


def test_one_failure_alone_does_not_hold_it_back() -> None:
    vitality = Vitality(Check())
    vitality.result(None)
    assert not vitality.result("refused")
    assert not vitality.result(None)
    assert not vitality.result("refused")
    assert vitality.result("refused")
    assert vitality.held == "tcp: refused"


def test_the_reason_follows_while_it_is_held_back() -> None:
    vitality = Vitality(TWICE)
    assert vitality.result("refused")
    assert not vitality.result("refused")
    assert vitality.result("status 500")
    assert vitality.held == "GET /healthz: status 500"


def test_a_reason_fits_a_txt_string() -> None:
    vitality = Vitality(Check())
    vitality.result("é" * 500)
    assert 190 < len(vitality.held.encode()) <= 200


def test_it_is_asked_often_until_it_has_passed_once() -> None:
    vitality = Vitality(Check(interval=5.0))
    assert vitality.pause == FIRST_INTERVAL
    vitality.result("refused")
    assert vitality.pause == FIRST_INTERVAL
    vitality.result(None)
    assert vitality.pause == 5.0
    vitality.result("refused")
    vitality.result("refused")
    assert vitality.pause == 5.0
