"""The serial of a host's zone, whichever of its processes tells it."""

from __future__ import annotations

from played import ALPHA, APEX, SINCE

from mddns.registry import Registry
from mddns.tenancy import HostTable

START = SINCE // 10 % 2**32


def table() -> HostTable:
    return HostTable(Registry(ALPHA, False, SINCE), 1, APEX)


def test_changes_that_nobody_saw_share_a_serial() -> None:
    made = table()
    for _ in range(100):
        made.changed(SINCE)
    assert made.serial == START + 1


def test_changes_that_were_seen_have_one_each() -> None:
    made = table()
    seen = []
    for _ in range(3):
        made.changed(SINCE)
        seen += [made.serial, made.serial]
    assert seen == [START + 1, START + 1, START + 2, START + 2, START + 3, START + 3]


def test_the_serial_is_told_before_it_is_read() -> None:
    made = table()
    told: list[int] = []
    made.on_serial = told.append
    made.changed(SINCE + 500)
    assert told == []
    assert made.serial == START + 50
    assert told == [START + 50]


def test_the_next_process_goes_on_even_where_its_clock_is_behind() -> None:
    made = table()
    made.follow(START + 1_000_000)
    made.changed(SINCE - 3_600_000)
    assert made.serial == START + 1_000_001


def test_a_serial_that_is_behind_is_not_followed() -> None:
    made = table()
    made.follow(START - 1)
    assert made.serial == START
