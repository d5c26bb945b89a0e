"""A copy that follows a host's zone is what the host would transfer whole."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from journals import changes, host
from played import ALPHA, APEX, LOOKER_ON, SINCE, Host

from mddns.base.errors import BadMessage
from mddns.base.names import Name
from mddns.dns.message import AA, IXFR, QR, SOA, TXT
from mddns.dns.writer import Packer
from mddns.zone.secondary import Progress, Secondary
from mddns.zone.transfer import TransferIn


def everything(key: tuple[bytes, int]) -> bool:
    return True


def answers(made: Host, query: bytes) -> tuple[bytes, ...]:
    answer = made.octets(query, tcp=True, source=LOOKER_ON)
    assert isinstance(answer, tuple)
    return answer


def refresh(copy: Secondary, made: Host) -> Progress:
    progress = Progress.MORE
    for wire in answers(made, copy.ask(7)):
        assert progress is Progress.MORE
        progress = copy.feed(wire)
    return progress


def fresh(made: Host) -> Secondary:
    copy = Secondary(APEX, everything)
    assert refresh(copy, made) is Progress.CHANGED
    return copy


@given(changes, st.sets(st.integers(0, 25)))
@settings(deadline=None, max_examples=60)
def test_following_leads_where_a_whole_transfer_leads(made_changes: list[tuple], refreshed: set[int]) -> None:  # type: ignore[type-arg]
    made = host(1)
    copy, telling = fresh(made), Secondary(APEX)
    refresh(telling, made)
    standing = {}
    for number, (name, port, protocol, address, labels) in enumerate(made_changes):
        key = (name.lower(), port, protocol, address)
        if labels is None and key in standing:
            made.registry.withdraw(standing.pop(key), SINCE)
        else:
            standing[key] = made.advertise(name, port, labels or {}, protocol=protocol, address=address)
        if number in refreshed:
            refresh(copy, made)
            refresh(telling, made)
    refresh(copy, made)
    refresh(telling, made)
    whole = fresh(made)
    assert {key: set(rdatas) for key, rdatas in copy.records.items()} == {
        key: set(rdatas) for key, rdatas in whole.records.items()
    }
    assert copy.serial == whole.serial
    transfer = TransferIn(APEX)
    for wire in answers(made, Secondary(APEX).ask(1)):
        transfer.feed(wire)
    assert sorted(map(repr, telling.told())) == sorted(map(repr, transfer.told()))


def test_nothing_new_is_current() -> None:
    made = host()
    assert refresh(fresh(made), made) is Progress.CURRENT


def test_a_change_is_asked_for_by_ixfr_alone() -> None:
    made = host(100)
    copy = fresh(made)
    made.advertise("db", 5432)
    (wire,) = answers(made, copy.ask(9))
    assert len(wire) < 1000
    assert copy.feed(wire) is Progress.CHANGED


def test_another_serial_alone_means_ask_everything() -> None:
    """A holder that starts anew with its clock set back is behind us, and has something else."""
    made, late = host(5), Host(ALPHA)
    late.responder.allow(frozenset((LOOKER_ON,)))
    late.registry.serial -= 1000
    late.advertise("other", 1)
    late.registry.serial -= 100_000_000
    copy = fresh(made)
    assert refresh(copy, late) is Progress.ASK_WHOLE
    assert refresh(copy, late) is Progress.CHANGED
    assert copy.records == fresh(late).records


def test_ixfr_is_not_asked_without_a_serial() -> None:
    assert Secondary(APEX).ask(1)[-4:-2] == b"\x00\xfc"


# What is no answer


def packed(*records: tuple[Name, int, bytes]) -> bytes:
    packer = Packer(APEX.wire, IXFR)
    for owner, rtype, rdata in records:
        packer.record(owner.wire, rtype, 5, (rdata, None))
    return packer.finish(7, QR | AA, (len(records), 0, 0))


def soa(serial: int) -> tuple[Name, int, bytes]:
    return APEX, SOA, b"\0\0" + serial.to_bytes(4, "big") + bytes(16)


GONE = Name.parse("never.minidisc."), TXT, b"\x01x"


@pytest.mark.parametrize(
    "records",
    [
        lambda now: (soa(now + 2), soa(now), GONE, soa(now + 2), soa(now + 2)),
        lambda now: (soa(now + 2), soa(now), soa(now + 1), soa(now + 2), soa(now + 2)),
        lambda now: (soa(now + 2), soa(now), soa(now + 2), soa(now + 2), GONE),
        lambda now: (soa(now + 2), GONE, soa(now + 1)),
        lambda now: (GONE, soa(now + 2)),
    ],
    ids=["deletes what is not there", "a gap", "behind the end", "another end", "no beginning"],
)
def test_differences_that_make_no_sense_change_nothing_and_everything_is_asked(records) -> None:  # type: ignore[no-untyped-def]
    made = host()
    copy = fresh(made)
    before, serial = copy.records, copy.serial
    assert serial is not None
    copy.ask(7)
    with pytest.raises(BadMessage):
        copy.feed(packed(*records(serial)))
    assert (copy.records, copy.serial) == (before, serial)
    assert refresh(copy, made) is Progress.CHANGED


def test_steps_without_records_are_steps() -> None:
    made = host()
    copy = fresh(made)
    now = copy.serial or 0
    copy.ask(7)
    assert copy.feed(packed(soa(now + 2), soa(now), soa(now + 1), soa(now + 1), soa(now + 2), soa(now + 2)))
    assert copy.serial == now + 2


def test_hostile_octets_give_a_bad_message_or_progress() -> None:
    dice = random.Random(4711)
    made = host(5)
    copy = fresh(made)
    for number in range(2000):
        made.advertise("web", number % 5 + 1, {"n": str(number)})
        wire = bytearray(answers(made, copy.ask(7))[0])
        for _ in range(dice.randrange(3)):
            wire[dice.randrange(len(wire))] = dice.randrange(256)
        try:
            copy.feed(bytes(wire))
        except BadMessage:
            refresh(copy, made)


def test_a_zone_of_too_many_records_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mddns.zone.secondary.MOST_RECORDS", 20)
    copy = Secondary(APEX, everything)
    with pytest.raises(BadMessage, match="too many"):
        refresh(copy, host(30))
