"""What is told as differences is what a whole transfer would say; dnspython, as a secondary, is the judge."""

from __future__ import annotations

import dns.message
import dns.name
import dns.rdatatype
import dns.versioned
import dns.xfr
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from journals import changes, host
from played import ALPHA, APEX, LOOKER_ON, SINCE, STRANGER, Host, question

from mddns.base.model import Endpoint, Service, replace
from mddns.codec.instance_records import instance_label
from mddns.zone.apex import Apex
from mddns.zone.journal import MOST_OCTETS, MOST_STEPS, Journal, Step, difference
from mddns.zone.zone import Zone

SOA = (APEX.wire, 6, (b"", None))


def serial_of(made: Host) -> int:
    """The serial that a host tells."""
    return int(made.whole("@ SOA").message.answer[0][0].serial)


def ixfr(serial: int, **edns: int) -> bytes:
    query = dns.message.from_wire(question("@ IXFR", **edns))
    soa = f"ns.minidisc. hostmaster.minidisc. {serial} 0 0 0 0"
    query.authority.append(dns.rrset.from_text("minidisc.", 0, "IN", "SOA", soa))
    return query.to_wire()


def asked(made: Host, serial: int, *, tcp: bool = True, **edns: int) -> list[dns.message.Message]:
    answer = made.octets(ixfr(serial, **edns), tcp=tcp, source=LOOKER_ON)
    wires = answer if isinstance(answer, tuple) else (answer,)
    return [dns.message.from_wire(wire, xfr=True, origin=dns.name.from_text("minidisc.")) for wire in wires]


def records(messages: list[dns.message.Message]) -> list[str]:
    """The records of an answer in their order; of the SOA its serial alone."""
    return [
        str(rdata.serial) if rrset.rdtype == dns.rdatatype.SOA else f"{rrset.name} {rrset.rdtype.name} {rdata}"
        for message in messages
        for rrset in message.answer
        for rdata in rrset
    ]


class Secondary:
    """dnspython following a zone."""

    def __init__(self, made: Host) -> None:
        self.made = made
        self.zone = dns.versioned.Zone(dns.name.from_text("minidisc."))
        answer = made.octets(question("@ AXFR"), tcp=True, source=LOOKER_ON)
        assert isinstance(answer, tuple)
        with dns.xfr.Inbound(self.zone, dns.rdatatype.AXFR) as inbound:
            for wire in answer:
                inbound.process_message(dns.message.from_wire(wire, xfr=True, origin=self.zone.origin))

    @property
    def serial(self) -> int:
        return int(self.zone.find_rdataset("@", "SOA")[0].serial)

    def refresh(self) -> None:
        messages = asked(self.made, self.serial)
        with dns.xfr.Inbound(self.zone, dns.rdatatype.IXFR, serial=self.serial) as inbound:
            assert [inbound.process_message(each) for each in messages][-1]

    def lines(self) -> set[str]:
        return {
            f"{owner} {rdataset.rdtype.name} {rdata}".lower()  # compression may change the case of names
            for owner, rdataset in self.zone.iterate_rdatasets()
            for rdata in rdataset
        }


# The form (RFC 1995 4)


def test_a_step_is_soa_deletions_soa_additions_between_the_new_soa() -> None:
    made = host(1)
    before = serial_of(made)
    made.advertise("web", 1, {"env": "dev"})
    after = serial_of(made)
    found = records(asked(made, before))
    assert found[0] == found[-1] == str(after)
    assert found[1] == str(before)
    second = found.index(str(after), 1)
    deleted, added = found[2:second], found[second + 1 : -1]
    assert sorted(deleted) == [
        'alpha-1._web._tcp TXT "env=prod" "md.since=1800000000000"',
        'alpha-1.web TXT "env=prod" "md.since=1800000000000"',
        'web TXT "env=prod"',
    ]
    assert sorted(added) == [line.replace("prod", "dev") for line in sorted(deleted)]


def test_steps_follow_each_other_oldest_first() -> None:
    made = host(1)
    serials = [serial_of(made)]
    for port in (2, 3, 4):
        made.advertise("web", port)
        serials.append(serial_of(made))
    told = [int(each) for each in records(asked(made, serials[1])) if each.isdecimal()]
    assert told == [serials[3], serials[1], serials[2], serials[2], serials[3], serials[3]]


def test_who_has_the_serial_gets_the_soa_alone() -> None:
    made = host()
    assert records(asked(made, serial_of(made))) == [str(serial_of(made))]


def test_who_is_ahead_gets_the_soa_alone() -> None:
    made = host()
    assert records(asked(made, (serial_of(made) + 5) % 2**32)) == [str(serial_of(made))]


@pytest.mark.parametrize("behind", [1, 1000, 2**31])
def test_an_unknown_serial_gets_the_whole_zone(behind: int) -> None:
    made = host()
    found = records(asked(made, (serial_of(made) - behind) % 2**32))
    assert found[0] == found[-1] == str(serial_of(made))
    assert 'web TXT "env=prod"' in found
    assert found.count(str(serial_of(made))) == 2


def test_over_udp_differences_come_where_they_fit() -> None:
    made = host(1)
    before = serial_of(made)
    made.advertise("web", 1, {"env": "dev"})
    after = serial_of(made)
    assert records(asked(made, before, tcp=False, use_edns=0, payload=1232)) == records(asked(made, before))
    for port in range(2, 30):
        made.advertise("web", port)
    assert records(asked(made, before, tcp=False, use_edns=0, payload=1232)) == [str(serial_of(made))]
    assert after != serial_of(made)


def test_over_udp_an_unknown_serial_gets_the_soa_alone() -> None:
    made = host()
    assert records(asked(made, serial_of(made) - 1, tcp=False)) == [str(serial_of(made))]


def test_ixfr_without_a_serial_is_a_format_error() -> None:
    assert host().ask("@ IXFR", source=LOOKER_ON).rcode == "FORMERR"


def test_strangers_get_no_differences() -> None:
    made = host()
    answer = made.octets(ixfr(1), tcp=True, source=STRANGER)
    assert isinstance(answer, bytes)
    assert dns.message.from_wire(answer).rcode() == dns.rcode.REFUSED


# The same as a whole transfer


@given(changes, st.sets(st.integers(0, 25)))
@settings(deadline=None, max_examples=60)
def test_differences_lead_where_a_whole_transfer_leads(made_changes: list[tuple], refreshed: set[int]) -> None:  # type: ignore[type-arg]
    made = host(1)
    follower = Secondary(made)
    standing = {}
    for number, (name, port, protocol, address, labels) in enumerate(made_changes):
        key = (name.lower(), port, protocol, address)
        if labels is None and key in standing:
            made.registry.withdraw(standing.pop(key), SINCE)
        else:
            standing[key] = made.advertise(name, port, labels or {}, protocol=protocol, address=address)
        if number in refreshed:
            follower.refresh()
    follower.refresh()
    assert follower.lines() == Secondary(made).lines()


services = st.lists(
    st.builds(
        lambda name, port, machine, address, labels, priority, srv: Service(
            name, labels, Endpoint.of(address, port), (address,), priority=priority,
            instance=instance_label(machine, address, port, "tcp"), srv=srv,
        ),
        st.sampled_from(("web", "WEB", "db")),
        st.integers(1, 2),
        st.sampled_from(("alpha", "", "100-64-0-1")),
        st.sampled_from(("100.64.0.1", "100.64.0.2", "fd7a::1")),
        st.sampled_from(({}, {"env": "prod"})),
        st.integers(0, 1),
        st.sampled_from(((), ("http",), ("http", "HTTP", "x"))),
    ),
    max_size=8,
    unique_by=lambda each: each.key,
)  # fmt: skip


@given(services, services)
@settings(max_examples=200)
def test_a_step_leads_from_all_records_to_all_records(before: list[Service], after: list[Service]) -> None:
    """Where two services share an instance label, both get others: a change of one changes the records of both."""
    states = [
        (Apex(APEX, serial, ("100.64.0.1",)), Zone(APEX.wire, found))
        for serial, found in ((1, before), (2, after))
    ]  # fmt: skip
    step = difference(states[0], states[1])
    was, now = (set(zone.records()) for _, zone in states)
    assert set(step.deleted) == was - now
    assert set(step.added) == now - was


@given(services, st.sets(st.integers(0, 7)), services)
@settings(max_examples=200)
def test_a_zone_made_from_the_one_before_is_as_one_made_anew(
    before: list[Service], left: set[int], others: list[Service]
) -> None:
    """Some services are the very same objects, some are others of the same name or label, some are gone."""
    after = [service for number, service in enumerate(before) if number not in left]
    keys = {service.key for service in after}
    after += [service for service in others if service.key not in keys]
    apexes = [Apex(APEX, serial, ("100.64.0.1",)) for serial in (1, 2)]
    first = Zone(APEX.wire, before)
    anew, made = Zone(APEX.wire, after), Zone(APEX.wire, after, before=first)
    assert list(made.records()) == list(anew.records())
    steps = [difference((apexes[0], first), (apexes[1], zone)) for zone in (anew, made)]
    assert [(set(step.deleted), set(step.added), step.names) for step in steps[:1]] == [
        (set(step.deleted), set(step.added), step.names) for step in steps[1:]
    ]


def test_records_are_none_twice() -> None:
    made = host(20)
    for port in range(1, 5):
        made.advertise("Web", port, protocol="udp")
    zone = Zone(APEX.wire, made.registry.services())
    every = list(zone.records())
    assert len(every) == len(set(every))


def test_an_address_of_ours_that_changes_is_a_difference() -> None:
    made = host(1)
    follower = Secondary(made)
    made.registry.moved(replace(ALPHA, addresses=("100.64.0.77",)), False, SINCE)
    follower.refresh()
    assert "ns a 100.64.0.77" in follower.lines()
    assert follower.lines() == Secondary(made).lines()


# Bounds


def step(serial: int, octets: int = 10) -> Step:
    return Step(serial, SOA, SOA, (), ((b"\0", 16, (bytes(octets), None)),), frozenset())


def test_a_thousand_steps_are_kept() -> None:
    journal = Journal()
    for serial in range(MOST_STEPS + 1):
        journal.add(step(serial))
    assert journal.since(0) is None
    assert len(journal.since(1) or ()) == MOST_STEPS


def test_at_most_256_kib_are_kept() -> None:
    journal = Journal()
    for serial in range(20):
        journal.add(step(serial, MOST_OCTETS // 10))
    kept = [serial for serial in range(20) if journal.since(serial) is not None]
    assert kept == list(range(20 - len(kept), 20))
    assert 8 <= len(kept) <= 10


def test_a_step_that_is_larger_than_the_journal_empties_it() -> None:
    journal = Journal()
    journal.add(step(1))
    journal.add(step(2, MOST_OCTETS + 1))
    assert journal.since(1) is None
    assert journal.since(2) is None


def test_a_state_that_nobody_was_told_is_in_no_step() -> None:
    made = host(1)
    before = serial_of(made)
    for port in (2, 3, 4):
        made.advertise("web", port)
    assert len([each for each in records(asked(made, before)) if each.isdecimal()]) == 4


def test_all_who_follow_are_told_the_same_octets_under_the_ids_of_their_questions() -> None:
    made = host()
    serial = serial_of(made)
    made.advertise("web", 9)
    wires = [ixfr(serial, use_edns=False), ixfr(serial, use_edns=False), ixfr(serial, use_edns=0)]
    answers = [made.octets(wire, tcp=True, source=LOOKER_ON) for wire in wires]
    first, second, edns = (answer[0] for answer in answers if isinstance(answer, tuple))
    assert [first[:2], second[:2]] == [wire[:2] for wire in wires[:2]]
    assert first[2:] == second[2:]
    assert dns.message.from_wire(edns, xfr=True).edns == 0
    made.advertise("web", 10)
    assert len(records(asked(made, serial))) > len(records([dns.message.from_wire(first, xfr=True)]))
