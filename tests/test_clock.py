"""Ages go on while the machine sleeps; heartbeats do not; and the time of day may be set as it likes."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from mddns import clock
from mddns.apex import next_serial
from mddns.clock import AWAY, CAUGHT_UP, HELD, Naps, Pulse, Turns
from mddns.directory import Directory
from mddns.memory import GONE_AFTER, Memory, Standing
from mddns.model import Endpoint, Peer, Service, Snapshot
from mddns.offer import make
from mddns.policy import Policy
from mddns.registry import Registry

ME, BRAVO = Peer("alpha", ("100.64.0.1",)), Peer("bravo", ("100.64.0.2",))
WEB = Service("web", {}, Endpoint("100.64.0.2:80"))
NIGHT = 8 * 3600.0


# What it measures


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="CLOCK_BOOTTIME is Linux's")
def test_on_linux_it_counts_sleep_and_is_not_the_time_of_day() -> None:
    before, now, after = time.clock_gettime(time.CLOCK_BOOTTIME), clock.now(), time.clock_gettime(time.CLOCK_BOOTTIME)
    assert before <= now <= after
    assert clock.asleep() == pytest.approx(now - time.monotonic(), abs=1.0)


def test_in_a_time_namespace_that_booted_later_it_is_that_much_further() -> None:
    """The nearest to sleep that a test can make: BOOTTIME is 600 s ahead of MONOTONIC, as after 10 minutes of it."""
    code = "from mddns import clock; print(clock.asleep())"
    argv = ["unshare", "-T", "--fork", "--boottime", "600", sys.executable, "-c", code]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    if done.returncode:
        pytest.skip(f"needs time namespaces: {done.stderr.strip()}")
    assert float(done.stdout) == pytest.approx(clock.asleep() + 600, abs=5.0)


def test_who_misses_its_turns_was_away() -> None:
    turns = Turns(100.0)
    assert [turns.away(100.0 + after) for after in (1, 2, 2 + AWAY)] == [0.0, 0.0, 0.0]
    assert turns.away(107.0 + NIGHT) == NIGHT
    assert turns.away(108.0 + NIGHT) == 0.0


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


def test_a_nap_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    slept = 5.0
    monkeypatch.setattr(clock, "asleep", lambda: slept)
    naps = Naps()
    assert naps.taken() == 0.0
    slept += 600.0
    assert [naps.taken(), naps.taken()] == [600.0, 0.0]
    slept += 0.01  # the two clocks are not read at once
    assert naps.taken() == 0.0


# What sleep does to what is known of others


def known(now: float) -> Directory:
    directory = Directory(b"\x08minidisc\0", Memory(), Policy())
    directory.network(Snapshot(ME, (BRAVO,)), with_own_host=False)
    directory.answered(BRAVO, [WEB], now)
    return directory


def test_after_a_night_everybody_is_asked_and_what_they_said_stands_until_then() -> None:
    directory = known(0.0)
    assert directory.due(1.0) == []
    directory.slept(NIGHT, NIGHT + 1)
    assert directory.due(NIGHT + 1) == [BRAVO]
    assert directory.stale(NIGHT + 1)
    assert [each.name for each in directory.services(NIGHT + 1)] == ["web"]


def test_a_registry_is_not_gone_for_what_it_could_not_tell_us_while_we_slept() -> None:
    directory = known(0.0)
    directory.missed(BRAVO, 3.0)
    directory.slept(NIGHT, NIGHT + 4)
    now = NIGHT + 4
    assert directory.memory.standing(BRAVO.id, now) is Standing.REGISTRY
    assert directory.silent(now) == ("bravo",)
    assert not directory.memory.gone(BRAVO.id, now + GONE_AFTER - 5)
    # It has as long as ever: silent for 4 s before, 26 s from now on.
    assert directory.memory.gone(BRAVO.id, now + GONE_AFTER - 4)


def test_without_that_it_would_be() -> None:
    directory = known(0.0)
    directory.missed(BRAVO, 3.0)
    assert directory.memory.gone(BRAVO.id, NIGHT + 4)


def test_a_silence_is_never_taken_for_one_of_the_future() -> None:
    """As where a loss of the network is told while peers were asked during it."""
    directory = known(0.0)
    directory.missed(BRAVO, 39.0)
    directory.slept(35.0, 40.0)
    assert not directory.memory.gone(BRAVO.id, 40.0)
    assert directory.memory.gone(BRAVO.id, 40.0 + GONE_AFTER)


def test_who_was_left_alone_is_asked_again_after_sleep() -> None:
    directory = known(0.0)
    directory.refused(BRAVO, 10.0)
    assert directory.due(11.0, 0.0) == []
    directory.slept(60.0, 12.0)
    assert directory.due(12.0, 0.0) == [BRAVO]


# The time of day


@pytest.mark.parametrize("jump", [-86_400_000, -3_600_000, 0, 3_600_000, 86_400_000, 20 * 365 * 86_400_000])
def test_a_serial_never_goes_back_however_the_clock_is_set(jump: int) -> None:
    """By RFC 1982: each is later than the one before."""
    now_ms = 1_790_000_000_000
    serial = next_serial(None, now_ms)
    for _ in range(3):
        after = next_serial(serial, now_ms + jump)
        assert 0 < (after - serial) % 2**32 < 2**31
        serial = after


@pytest.mark.parametrize("jump", [-86_400_000, 86_400_000])
def test_what_stands_keeps_its_since_however_the_clock_is_set(jump: int) -> None:
    registry = Registry(ME, False, 1_790_000_000_000)
    web = registry.advertise(make(80, "web"), 1_790_000_000_000)
    then = 1_790_000_000_000 + jump
    registry.advertise(make(80, "web", {"a": "b"}), then)
    registry.relabel(web, {"a": "c"}, then)
    registry.replace([make(80, "web", {"a": "d"})], then)
    registry.moved(Peer("alpha", ("100.64.9.9",)), True, then)
    assert [each.since for each in registry.services()] == [1_790_000_000_000]
