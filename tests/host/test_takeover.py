"""When a process goes on in its holder's place, and whether what it knows still counts. Without sockets."""

from __future__ import annotations

from mddns.host.takeover import OUTDATED_AFTER, OUTDATED_LAST, SILENT_AFTER, SUCCESSOR_AFTER, Takeover


def knowledge(generation: int, now: float) -> Takeover:
    known = Takeover()
    known.holds(generation, now)
    return known


def test_whoever_comes_later_in_the_succession_waits_longer() -> None:
    known = knowledge(1, 0.0)
    assert known.patience(0, 1, 100.0) == SILENT_AFTER
    assert known.patience(2, 1, 100.0) == SILENT_AFTER + 2 * SUCCESSOR_AFTER


def test_what_a_tenant_knows_counts_for_as_long_as_nobody_else_has_held() -> None:
    """It was stopped, and so was its holder: what was told meanwhile it reads before it goes on."""
    assert not knowledge(1, 0.0).is_outdated(1, 100.0)


def test_what_was_known_before_the_host_changed_hands_without_us_counts_no_more() -> None:
    assert knowledge(1, 0.0).is_outdated(2, OUTDATED_AFTER + 0.01)


def test_two_holders_that_end_in_a_row_leave_their_tenants_what_they_know() -> None:
    assert not knowledge(1, 0.0).is_outdated(2, 0.5)


def test_who_knows_nothing_of_a_host_is_outdated() -> None:
    assert Takeover().is_outdated(1, 0.0)


def test_who_is_outdated_lets_those_go_first_who_know() -> None:
    assert knowledge(1, 0.0).patience(0, 2, 8.0) == SILENT_AFTER + OUTDATED_LAST
    assert knowledge(1, 0.0).patience(0, 2, 8.0) > knowledge(2, 8.0).patience(4, 2, 8.0)
