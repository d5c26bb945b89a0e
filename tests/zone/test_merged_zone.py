"""One state under one serial: it moves when a record does, and a secondary can follow every step."""

from __future__ import annotations

from played import APEX

from mddns.base.model import Endpoint, Service
from mddns.base.names import Name
from mddns.zone.apex import is_after
from mddns.zone.merged_zone import MergedZone
from mddns.zone.zone import Zone

MS = 1_800_000_000_000


def state(*ports: int, rtt: float | None = None) -> Zone:
    return Zone(
        APEX.wire,
        [
            Service("web", {}, Endpoint(f"100.64.0.1:{port}"), ("100.64.0.1",), instance=f"alpha-{port}", rtt_ms=rtt)
            for port in ports
        ],
    )


def made(*addresses: str) -> MergedZone:
    return MergedZone(APEX, addresses or ("127.0.0.1",), MS)


def hosts(zone: MergedZone) -> list[tuple[bytes, int]]:
    owner = Name.of((b"ns",), APEX).wire
    return [(rdata[0], rtype) for name, rtype, rdata in zone.apex.records() if name == owner]


def test_there_is_nothing_to_be_had_before_the_first_state_and_an_empty_one_is_a_state() -> None:
    zone = made()
    assert not zone.known
    before = zone.serial
    assert zone.take(state(), MS)
    assert zone.known
    assert is_after(zone.serial, before)


def test_the_serial_is_the_time_and_never_less_than_one_more() -> None:
    zone = made()
    zone.take(state(1), MS + 500)
    assert zone.serial == (MS + 500) // 10 % 2**32
    zone.take(state(1, 2), MS)
    assert zone.serial == (MS + 500) // 10 % 2**32 + 1


def test_the_same_records_are_the_same_state() -> None:
    zone = made()
    zone.take(state(1), MS)
    before = zone.serial
    assert not zone.take(state(1), MS + 1000)
    assert not zone.take(state(1, rtt=3.0), MS + 2000)
    assert zone.serial == before
    assert zone.journal.since(before) is None


def test_every_state_can_be_followed_from_the_first_one_on() -> None:
    zone = made()
    before = zone.serial
    zone.take(state(1), MS)
    first = zone.serial
    zone.take(state(1, 2), MS)
    zone.take(state(2), MS)
    steps = zone.journal.since(first)
    assert steps is not None
    assert [(bool(step.deleted), bool(step.added)) for step in steps] == [(False, True), (True, False)]
    assert zone.journal.since(before) is None  # before there was anything


def test_the_name_servers_addresses_are_where_others_reach_it() -> None:
    assert hosts(made("127.0.0.1", "::1")) == [(bytes((127, 0, 0, 1)), 1), (bytes(15) + b"\1", 28)]
    assert hosts(made("127.0.0.1", "100.64.0.7")) == [(bytes((100, 64, 0, 7)), 1)]
