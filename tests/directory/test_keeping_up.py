"""Whether whoever follows others keeps up with them."""

from __future__ import annotations

from mddns.directory.keeping_up import CAUGHT_UP, HELD, Pulse


def test_who_had_no_turn_for_long_is_steady_again_when_it_has_caught_up() -> None:
    pulse = Pulse(100.0)
    assert pulse.is_steady(100.0)
    pulse.beat(102.0)
    assert pulse.is_steady(102.0 + HELD)
    assert not pulse.is_steady(110.0)
    pulse.beat(110.0)
    assert not pulse.is_steady(110.0 + CAUGHT_UP / 2)
    assert pulse.is_steady(110.0 + CAUGHT_UP)


def test_who_is_in_doubt_is_steady_again_when_that_has_ended() -> None:
    pulse = Pulse(100.0)
    pulse.doubt(102.0)
    pulse.doubt(101.0)
    pulse.beat(101.5)
    assert [pulse.is_steady(100.0 + after) for after in (0.5, 1.9, 2.0)] == [False, False, True]
