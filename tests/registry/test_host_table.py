"""What all processes of a host offer, by domain, and its serial, whichever of them tells it."""

from __future__ import annotations

import pytest
from played import ALPHA, APEX, SINCE

from mddns.base.model import Endpoint, Service
from mddns.base.names import Name
from mddns.base.validation import MAX_SERVICES
from mddns.codec.update import read, updates
from mddns.registry.host_table import HostTable
from mddns.registry.registry import Registry

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


def told(table: HostTable, number: int, *ports: int, since: int = SINCE) -> None:
    """A process registers services of ours at these ports."""
    services = [service(port, since) for port in ports]
    for update in updates(services, (), table.apex_of(number)):
        table.apply(number, read(update, table.apex_of(number)), SINCE)


def service(port: int, since: int = SINCE) -> Service:
    endpoint = Endpoint.of(ALPHA.addresses[0], port)
    return Service("web", {}, endpoint, ALPHA.addresses[:1], since=since, instance=f"alpha-{port}")


def ports(services: list[Service]) -> set[int]:
    return {each.endpoint.port for each in services}


OTHER = Name.parse("minidisc.internal")


def test_each_domain_has_what_its_processes_offer() -> None:
    made = table()
    made.let_in(2, OTHER)
    made.let_in(3, APEX)
    told(made, 2, 80)
    told(made, 3, 81)
    assert (ports(made.services()), ports(made.part(OTHER).services())) == ({81}, {80})
    assert made.apexes == [APEX, OTHER]


def test_a_domain_is_left_when_its_last_process_is_gone_also_one_that_offered_nothing() -> None:
    made = table()
    made.let_in(2, OTHER)
    assert made.drop(2, SINCE)
    assert made.apexes == [APEX]


def test_who_does_not_come_back_to_a_new_holder_is_dropped_with_its_domain() -> None:
    made = table()
    made.let_in(2, OTHER)
    made.let_in(3, APEX)
    told(made, 3, 81)
    made.taken_over(10.0)
    made.told_all(3, SINCE)
    assert (made.expire(10.5, SINCE, (), ()), made.expire(11.5, SINCE, (), ())) == ([], [2])
    assert made.apexes == [APEX]


def test_who_has_ended_is_not_waited_for() -> None:
    made = table()
    for number in (2, 3):
        made.let_in(number, APEX)
        told(made, number, 80 + number)
    made.taken_over(10.0)
    assert made.expire(10.0, SINCE, (), {2}) == [2]
    assert ports(made.services()) == {83}


def test_who_is_registering_anew_when_the_time_is_up_is_not_dropped() -> None:
    made = table()
    made.let_in(2, APEX)
    told(made, 2, 80)
    made.taken_over(10.0)
    assert made.expire(12.0, SINCE, {2}, ()) == []
    told(made, 2, 80)
    made.told_all(2, SINCE)
    assert ports(made.services()) == {80}


def test_what_one_process_tells_of_all_is_what_another_meets() -> None:
    made, other = table(), table()
    made.let_in(2, OTHER)
    other.meet(made.introduced())
    assert other.apexes == [APEX, OTHER]
    other.only([1], SINCE)
    assert other.apexes == [APEX]


def test_a_host_offers_no_more_than_it_may_and_a_message_that_would_is_not_heeded_at_all() -> None:
    made = table()
    made.let_in(2, APEX)
    told(made, 2, *range(1, MAX_SERVICES))
    with pytest.raises(ValueError, match="at most 1000"):
        told(made, 2, MAX_SERVICES, MAX_SERVICES + 1)
    assert len(made.services()) == MAX_SERVICES - 1
    told(made, 2, MAX_SERVICES)
    told(made, 2, 1, since=SINCE + 1)  # what is there already may change


def test_telling_of_a_service_takes_no_longer_where_there_are_many_processes() -> None:
    """What is counted is how often the services of the others are looked at: never."""
    made = table()
    for number in range(2, 102):
        made.let_in(number, APEX)
        told(made, number, *range(number * 5, number * 5 + 5))
    looked = []
    made.of = lambda number: looked.append(number) or []  # type: ignore[method-assign, func-returns-value]
    told(made, 2, 60_000)
    assert looked == []
