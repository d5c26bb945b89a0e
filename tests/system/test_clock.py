"""Ages go on while the machine sleeps; heartbeats do not; and the time of day may be set as it likes."""

from __future__ import annotations

import subprocess
import sys
import time
from itertools import groupby

import pytest

from mddns.base.model import Endpoint, Peer, Service, Snapshot
from mddns.base.offer import make
from mddns.base.policy import Policy
from mddns.directory.directory import Directory
from mddns.directory.peer_memory import GONE_AFTER, Memory, Standing
from mddns.registry.registry import Registry
from mddns.system import clock
from mddns.system.clock import AWAY, Naps, Turns
from mddns.zone.apex import is_after, next_serial

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
    code = "from mddns.system import clock; print(clock.asleep())"
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


@pytest.mark.parametrize(("by", "noticed"), [(-3_600_000, False), (500, False), (2000, True), (3_600_000, True)])
def test_a_clock_that_is_set_ahead_is_noticed_once(by: int, noticed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    times = [1_790_000_000_000, 1_790_000_001_000, 1_790_000_002_000 + by, 1_790_000_003_000 + by]
    seconds = iter([0.0, 1.0, 2.0, 3.0])
    monkeypatch.setattr(clock, "unix_ms", iter(times).__next__)
    monkeypatch.setattr(clock, "now", seconds.__next__)
    steps = clock.Steps()
    assert [steps.ahead() for _ in range(3)] == [False, noticed, False]


@pytest.mark.parametrize("fixed", range(0, 2**32, 2**29))
def test_no_fixed_serial_lies_before_all_times_so_a_clock_before_2024_cannot_have_one(fixed: int) -> None:
    """By RFC 1982: times of 2024 to 2040 come around every 497 days, and half of them are after it."""
    days = range(1_704_067_200_000, 2_208_988_800_000, 86_400_000)
    after = [is_after(next_serial(None, day), fixed) for day in days]
    assert 0.45 < sum(after) / len(after) < 0.55
    turns = [sum(1 for _ in same) for _, same in groupby(after)]
    assert all(run in (248, 249) for run in turns[1:-1])


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
