"""What a caller finds: over a network that is a dictionary, with a clock turned by hand."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import dns.message
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from played import ALPHA, BRAVO, CHARLIE, Fleet, Seeker, peer

from mddns.base.errors import InvalidService
from mddns.base.model import Endpoint, Peer, Service, Snapshot, replace
from mddns.base.policy import Policy
from mddns.lookup.query import Found, Query, by_preference


def endpoints(found: Found) -> list[str]:
    return sorted(str(each.endpoint) for each in found.services)


@pytest.fixture
def fleet() -> Fleet:
    made = Fleet(ALPHA, BRAVO, CHARLIE)
    made[ALPHA].advertise("web", 1, {"env": "prod"})
    made[BRAVO].advertise("web", 2, {"env": "test"})
    made[CHARLIE].advertise("db", 3)
    return made


def test_all_services_of_a_name_are_found_with_whose_they_are(fleet: Fleet) -> None:
    found = Seeker(fleet).find("web")
    assert endpoints(found) == ["100.64.0.1:1", "100.64.0.2:2"]
    assert {(each.host, each.owner, each.via) for each in found.services} == {
        ("alpha", "ada@example.com", "100.64.0.1:28004"),
        ("bravo", None, "100.64.0.2:28004"),
    }
    assert (found.silent, found.asked, found.answered, found.refused) == ((), 3, 3, 0)


def test_labels_narrow_it_exactly(fleet: Fleet) -> None:
    seeker = Seeker(fleet)
    assert endpoints(seeker.find("web", env="prod")) == ["100.64.0.1:1"]
    assert endpoints(seeker.find("web", env="PROD")) == []
    assert endpoints(seeker.find(None, env="test")) == ["100.64.0.2:2"]


def test_without_a_name_everything_is_found(fleet: Fleet) -> None:
    assert endpoints(Seeker(fleet).find()) == ["100.64.0.1:1", "100.64.0.2:2", "100.64.0.3:3"]


def test_a_name_that_nobody_has_is_not_found_and_that_is_complete(fleet: Fleet) -> None:
    found = Seeker(fleet).find("nope")
    assert (found.services, found.silent, found.nobody_answered) == ((), (), False)


@pytest.mark.parametrize("name", ["", "_tcp", "xn--x", "ns", "x" * 63, "a\nb"])
def test_a_name_that_no_service_can_have_is_an_error(name: str) -> None:
    with pytest.raises(InvalidService):
        Query.of(name)


def test_the_first_match_is_enough_where_one_is_wanted(fleet: Fleet) -> None:
    fleet.fall_silent(CHARLIE)
    seeker = Seeker(fleet)
    lookup = seeker.inquirer.begin(Query.of("web", {"env": "test"}, first=True), seeker.snapshot, 0.0)
    assert lookup
    assert fleet.carry(lookup, 0.0) == 0.0
    assert endpoints(seeker.inquirer.finish(Query.of("web", {"env": "test"}, first=True), lookup, 0.0))[:1]


def test_what_is_known_is_not_asked_again_within_the_ttl(fleet: Fleet) -> None:
    fleet[CHARLIE].advertise("web", 4)
    seeker = Seeker(fleet)
    seeker.find("web", 0.0)
    asked = len(fleet.asked)
    for now in (0.1, 1.0, 4.9):
        assert len(endpoints(seeker.find("web", now))) == 3
        seeker.find("WEB", now)
        seeker.find("web", now, first=True)
    assert len(fleet.asked) == asked
    seeker.find("web", 5.0)
    assert len(fleet.asked) > asked


def test_who_told_everything_is_not_asked_by_name(fleet: Fleet) -> None:
    seeker = Seeker(fleet)
    seeker.find(None, 0.0)
    asked = len(fleet.asked)
    assert endpoints(seeker.find("db", 1.0)) == ["100.64.0.3:3"]
    assert len(fleet.asked) == asked


def test_a_silent_registry_is_named_and_what_it_said_stands(fleet: Fleet) -> None:
    seeker = Seeker(fleet)
    seeker.find("web", 0.0)
    fleet.fall_silent(BRAVO)
    found = seeker.find("web", 6.0)
    assert endpoints(found) == ["100.64.0.1:1", "100.64.0.2:2"]
    assert (found.silent, found.nobody_answered) == (("bravo",), False)


def test_if_no_known_registry_answers_that_is_told(fleet: Fleet) -> None:
    seeker = Seeker(fleet)
    seeker.find("web", 0.0)
    fleet.fall_silent(ALPHA, BRAVO, CHARLIE)
    assert seeker.find("web", 6.0).nobody_answered


def test_refusals_are_counted_and_make_nobody_silent(fleet: Fleet) -> None:
    fleet.refusing.update(CHARLIE.addresses)
    found = Seeker(fleet).find("web")
    assert (found.answered, found.refused, found.silent, found.nobody_answered) == (2, 1, (), False)


def test_a_network_where_nobody_is_a_registry_is_empty_and_not_broken() -> None:
    fleet = Fleet(ALPHA, BRAVO)
    fleet.fall_silent(ALPHA, BRAVO)
    found = Seeker(fleet).find()
    assert (found.services, found.silent, found.nobody_answered, found.asked) == ((), (), False, 2)


def test_when_the_network_changes_those_who_left_are_gone(fleet: Fleet) -> None:
    seeker = Seeker(fleet)
    seeker.find("web", 0.0)
    seeker.snapshot = Snapshot(None, (BRAVO,))
    assert endpoints(seeker.find("web", 1.0)) == ["100.64.0.2:2"]


# Our own host's holder


def test_our_own_hosts_holder_answers_for_all_in_one_question(fleet: Fleet) -> None:
    seeker = Seeker(fleet, me=ALPHA)
    fleet[ALPHA].directory.due(0.0)
    found = seeker.find("web")
    assert endpoints(found) == ["100.64.0.1:1", "100.64.0.2:2"]
    assert fleet.asked[0] == ("100.64.0.1", False)
    assert found.asked == 2  # our own host is no peer
    assert {each.host for each in found.services} == {"alpha", "bravo"}


def test_what_the_holder_said_stands_for_the_ttl_and_that_there_is_nothing_for_a_second(fleet: Fleet) -> None:
    seeker = Seeker(fleet, me=ALPHA)
    seeker.find("web", 0.0)
    seeker.find("nope", 0.0)
    asked = len(fleet.asked)
    seeker.find("web", 4.9)
    seeker.find("nope", 0.9)
    assert len(fleet.asked) == asked
    seeker.find("nope", 1.1)
    assert len(fleet.asked) > asked


def test_what_the_holder_said_is_forgotten_when_the_network_changes(fleet: Fleet) -> None:
    seeker = Seeker(fleet, me=ALPHA)
    seeker.find("web", 0.0)
    asked = len(fleet.asked)
    seeker.snapshot = Snapshot(ALPHA, (BRAVO,), "played")
    seeker.find("web", 0.1)
    assert len(fleet.asked) > asked


def test_the_holder_tells_who_was_silent(fleet: Fleet) -> None:
    seeker = Seeker(fleet, me=ALPHA)
    seeker.find("web", 0.0)
    fleet.fall_silent(BRAVO)
    assert seeker.find("web", 6.0).silent == ("bravo",)
    assert seeker.find("nope", 7.1).silent == ("bravo",)


@pytest.mark.parametrize("how", ["silent", "refusing"])
def test_without_a_holder_everybody_is_asked(fleet: Fleet, how: str) -> None:
    getattr(fleet, how).update(ALPHA.addresses)
    assert endpoints(Seeker(fleet, me=ALPHA).find("web")) == ["100.64.0.2:2"]


def test_a_service_of_nobody_on_the_network_has_no_owner(fleet: Fleet) -> None:
    fleet[BRAVO].advertise("remote", 5, address="10.0.0.1")
    (service,) = Seeker(fleet, me=ALPHA).find("remote").services
    assert (service.endpoint, service.host, service.owner, service.via, service.remote) == (
        "10.0.0.1:5",
        None,
        None,
        None,
        True,
    )


def test_policy_holds_for_what_the_holder_says_too(fleet: Fleet) -> None:
    fleet[BRAVO].advertise("remote", 5, address="10.0.0.1")
    assert endpoints(Seeker(fleet, me=ALPHA, policy=Policy(remote=False)).find("remote")) == []


# Fleets of any kind


offers = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["web", "WEB", "db", "bücher", "a.b"]),
        "port": st.integers(1, 4),
        "labels": st.dictionaries(st.sampled_from(["env", "v", "Zone"]), st.sampled_from(["prod", "1.0", "x" * 200])),
        "protocol": st.sampled_from(["tcp", "udp"]),
        "priority": st.integers(0, 2),
        "address": st.sampled_from([None, None, None, "10.0.0.1", "100.64.0.1", "100.64.0.2"]),
    }
)
PEERS = [ALPHA, BRAVO, CHARLIE, peer("alpha", "100.64.0.4"), peer("six", "fd7a::6"), peer("", "100.64.0.7")]
fleets = st.lists(st.tuples(st.integers(0, len(PEERS) - 1), offers), max_size=14)


def fleet_of(offered: list[tuple[int, dict[str, Any]]], many: int = 0) -> Fleet:
    fleet = Fleet(*PEERS)
    for number, offer in offered:
        fleet[PEERS[number]].advertise(**offer)
    for port in range(10, 10 + many):
        fleet[CHARLIE].advertise("many", port, {"env": "prod"})
    return fleet


def essence(services: tuple[Service, ...]) -> Counter[tuple[Any, ...]]:
    return Counter(
        (each.name, tuple(sorted(each.labels.items())), each.endpoint, each.addresses, each.protocol, each.priority,
         each.weight, each.via, each.host, each.owner, each.remote, each.since, each.network)
        for each in services
    )  # fmt: skip


@given(fleets, st.sampled_from([0, 30]))
@settings(deadline=None, max_examples=60)
def test_by_name_and_by_list_find_the_same(offered: list[tuple[int, dict[str, Any]]], many: int) -> None:
    fleet = fleet_of(offered, many)
    everything = Seeker(fleet).find()
    for name in ("web", "WEB", "db", "bücher", "a.b", "many", "nope"):
        by_name = Seeker(fleet).find(name)
        by_list = tuple(each for each in everything.services if each.matches(name))
        assert essence(by_name.services) == essence(by_list)
        assert len(by_name.services) == len({each.key for each in by_name.services})


@given(fleets)
@settings(deadline=None, max_examples=40)
def test_the_holder_and_asking_around_find_the_same(offered: list[tuple[int, dict[str, Any]]]) -> None:
    """But for who said it: a holder's answer has no authors, so an address tells whose a service is."""
    fleet = fleet_of(offered)
    around = Seeker(fleet).find()
    held = Seeker(fleet, me=BRAVO).find()

    def told(found: Found) -> Counter[tuple[Any, ...]]:
        services = tuple(replace(each, via=None, host=None, owner=None, remote=False) for each in found.services)
        return essence(services)

    assert told(held) == told(around)


@given(fleets)
@settings(deadline=None, max_examples=40)
def test_merged_answers_are_the_union_of_what_each_says_for_itself(offered: list[tuple[int, dict[str, Any]]]) -> None:
    """RD=1 against all RD=0 answers: every record's content, instance labels aside."""
    fleet = fleet_of(offered)
    for name in ("web", "db", "b\\195\\188cher", "a\\.b", "nope"):
        for rtype in ("A", "AAAA", "TXT", "SRV"):
            single = [fleet.ask(each, f"{name} {rtype}", rd=False) for each in PEERS]
            merged = fleet.ask(CHARLIE, f"{name} {rtype}")
            union = set().union(*(said.answer for said in single))
            if rtype == "SRV":
                numbers = {tuple(line.split()[4:7]) for line in union}
                assert {tuple(line.split()[4:7]) for line in merged.answer} <= numbers
                assert len(merged.answer) <= sum(len(said.answer) for said in single)
            elif rtype != "TXT":
                assert {part(line) for line in merged.answer} <= {part(line) for line in union}
            assert bool(merged.answer) == bool(union)
            if all(said.rcode == "NXDOMAIN" for said in single):
                assert merged.rcode == "NXDOMAIN"
            else:
                assert merged.rcode == "NOERROR"


def part(line: str) -> str:
    """A record without its owner, whose case is the question's."""
    return line.split(" ", 1)[1]


def test_merged_answers_of_distinct_services_are_exactly_the_union() -> None:
    fleet = Fleet(ALPHA, BRAVO, CHARLIE)
    for each, port in ((ALPHA, 1), (BRAVO, 2), (CHARLIE, 3)):
        fleet[each].advertise("web", port, {"on": each.name})
    for text in ("web SRV", "web A", "web TXT", "_web._tcp SRV", "_web._tcp PTR", "_list PTR", "web.bravo._on SRV"):
        single = [fleet.ask(each, text, rd=False) for each in (ALPHA, BRAVO, CHARLIE)]
        merged = fleet.ask(ALPHA, text)
        assert merged.answer == set().union(*(said.answer for said in single))
        assert merged.additional == set().union(*(said.additional for said in single))


# Order


def services(**numbers: tuple[int, int]) -> list[Service]:
    return [
        Service("web", {}, Endpoint.of(f"100.64.0.{n}", 80), priority=priority, weight=weight, host=host)
        for n, (host, (priority, weight)) in enumerate(numbers.items(), 1)
    ]


def hosts(ordered: list[Service]) -> list[str | None]:
    return [each.host for each in ordered]


def test_the_lowest_priority_number_comes_first() -> None:
    found = services(a=(20, 10), b=(10, 10), c=(0, 10))
    assert hosts(by_preference(found, (), random.Random(1).random)) == ["c", "b", "a"]


def test_among_equals_our_own_host_comes_first() -> None:
    found = services(a=(10, 10), b=(10, 10), c=(0, 10))
    assert hosts(by_preference(found, ("100.64.0.2",), random.Random(1).random)) == ["c", "b", "a"]


def test_the_chance_to_be_first_is_in_proportion_to_the_weight() -> None:
    found, draw = services(a=(10, 10), b=(10, 30), c=(10, 0)), random.Random(5)
    firsts = Counter(hosts(by_preference(found, (), draw.random))[0] for _ in range(4000))
    assert 0.70 < firsts["b"] / 4000 < 0.80
    assert firsts["c"] == 0


def test_weight_0_comes_last() -> None:
    found = services(a=(10, 0), b=(10, 1))
    assert hosts(by_preference(found, (), lambda: 0.0)) == ["b", "a"]


def test_the_nearest_is_the_one_that_answered_quickest() -> None:
    a, b, c = services(a=(10, 10), b=(10, 10), c=(10, 10))
    found = [replace(a, rtt_ms=20.0), replace(b, rtt_ms=None), replace(c, rtt_ms=3.0)]
    assert hosts(by_preference(found, (), lambda: 0.5, nearest=True)) == ["c", "a", "b"]


# More than a message holds


def crowded(size: int) -> Fleet:
    """A node with 1,000 services of one name, each with `size` octets of labels, and one of another name."""
    fleet = Fleet(ALPHA, BRAVO)
    for number in range(1, 1000):
        fleet[BRAVO].advertise("web", number, {f"k{at}": f"{number:04}" + "v" * size for at in range(5)})
    fleet[BRAVO].advertise("db", 1000)
    return fleet


@pytest.mark.parametrize("size", [0, 240], ids=["additional records are dropped", "full size"])
@pytest.mark.parametrize("me", [None, ALPHA], ids=["asking around", "the holder first"])
def test_by_name_and_by_list_find_the_same_of_a_node_that_offers_all_it_may(size: int, me: Peer | None) -> None:
    fleet = crowded(size)
    everything, by_name = Seeker(fleet, me).find(), Seeker(fleet, me).find("web")
    assert (len(everything.services), len(by_name.services)) == (1000, 999)
    assert essence(by_name.services) == essence(tuple(each for each in everything.services if each.name == "web"))
    assert (everything.silent, by_name.silent) == ((), ())


def test_an_rrset_that_no_message_holds_is_found_whole() -> None:
    fleet, name = Fleet(ALPHA, BRAVO), "n" * 62
    for number in range(1, 1001):
        fleet[BRAVO].advertise(name, number)
    cut = fleet[BRAVO].whole(f"{name} SRV", use_edns=0)
    assert cut.errors == [(0, f"{len(cut.answer)} of 1000")]
    assert len(Seeker(fleet).find(name).services) == 1000


@pytest.mark.parametrize("name", ["web", None])
def test_who_could_not_tell_everything_is_named_as_silent(name: str | None) -> None:
    fleet = crowded(0)
    fleet[BRAVO].responder.allow(frozenset())  # no transfers
    found = Seeker(fleet).find(name)
    assert found.silent == ("bravo",)
    assert 0 <= len(found.services) < 999
    assert bool(found.services) is (name == "web")


def test_what_was_known_before_stands_beside_a_part() -> None:
    fleet = crowded(0)
    seeker = Seeker(fleet)
    assert len(seeker.find("web", 0.0).services) == 999
    fleet[BRAVO].responder.allow(frozenset())
    again = seeker.find("web", 6.0)
    assert (len(again.services), again.silent) == (999, ("bravo",))
    for registration in fleet[BRAVO].registry.registrations()[20:]:
        fleet[BRAVO].registry.withdraw(registration, 0)
    at_last = seeker.find("web", 12.0)
    assert (len(at_last.services), at_last.silent) == (20, ())


# What the holder says has an age


def test_what_the_holder_said_stands_no_longer_than_its_records_do(fleet: Fleet) -> None:
    Seeker(fleet, me=ALPHA).find("web", 0.0)
    late = Seeker(fleet, me=ALPHA)
    late.find("web", 4.5)
    fleet[BRAVO].advertise("web", 5)
    assert len(late.find("web", 5.4).services) == 2
    assert len(late.find("web", 5.6).services) == 3


@pytest.mark.parametrize("me", [None, ALPHA])
def test_what_is_read_late_is_as_old_as_the_question(fleet: Fleet, me: Peer | None) -> None:
    """By whoever was stopped meanwhile."""
    seeker, query = Seeker(fleet, me), Query.of("web")
    lookup = seeker.inquirer.begin(query, seeker.snapshot, 0.0)
    assert lookup
    fleet.carry(lookup, 0.0, *([me.addresses[0]] if me else []))
    assert len(seeker.inquirer.finish(query, lookup, 4.0).services) == 2
    fleet[BRAVO].advertise("web", 5)
    assert len(seeker.find("web", 4.9).services) == 2
    assert len(seeker.find("web", 5.1).services) == 3


def test_a_holders_answer_with_ttl_0_is_not_kept(fleet: Fleet) -> None:
    seeker, query = Seeker(fleet, me=ALPHA), Query.of("web")
    for _ in range(2):
        lookup = seeker.inquirer.begin(query, seeker.snapshot, 0.0)
        assert lookup
        ((address, port, wire),) = lookup.send(0.0)
        reply = dns.message.from_wire(fleet.octets(fleet[ALPHA], wire, now=0.0, tcp=False) or b"")
        reply.additional[0].ttl = 0
        lookup.received(reply.to_wire(), address, port, 0.0)
        assert len(seeker.inquirer.finish(query, lookup, 0.0).services) == 2


@pytest.mark.parametrize("me", [None, ALPHA])
def test_who_asks_anew_is_told_nothing_that_was_known(fleet: Fleet, me: Peer | None) -> None:
    seeker, query = Seeker(fleet, me), Query.of("db")
    assert seeker.find("db", 0.0).services
    for registration in fleet[CHARLIE].registry.registrations():
        fleet[CHARLIE].registry.withdraw(registration, 0)
    if me:
        fleet.fall_silent(me)  # the others say so
    lookup = seeker.inquirer.begin(query, seeker.snapshot, 0.1, anew=True)
    assert lookup
    now = fleet.carry(lookup, 0.1)
    assert seeker.inquirer.finish(query, lookup, now).services == ()


# How old what is told may be


def test_what_was_told_long_ago_is_not_found_when_its_host_is_silent_at_last(fleet: Fleet) -> None:
    """Our own host's holder answered in between, so nobody asked that host, nor missed it."""
    seeker = Seeker(fleet, me=ALPHA)
    fleet.fall_silent(ALPHA)
    assert endpoints(seeker.find("web", 0.0)) == ["100.64.0.2:2"]
    fleet.wake(ALPHA)
    for now in range(6, 60, 6):
        assert len(seeker.find("web", float(now)).services) == 2
    fleet.fall_silent(ALPHA, BRAVO)
    found = seeker.find("web", 60.0)
    assert (found.services, found.silent) == ((), ("alpha", "bravo"))


def test_a_word_of_a_name_grows_old_although_its_host_answers_for_others(fleet: Fleet) -> None:
    seeker = Seeker(fleet)
    fleet[BRAVO].advertise("db", 5)
    seeker.find("web", 0.0)
    seeker.find("db", 27.0)
    fleet.fall_silent(BRAVO)
    assert endpoints(seeker.find("web", 28.0)) == ["100.64.0.1:1", "100.64.0.2:2"]
    assert endpoints(seeker.find("web", 35.0)) == ["100.64.0.1:1"]
    assert endpoints(seeker.find("db", 35.0)) == ["100.64.0.2:5", "100.64.0.3:3"]


def test_one_match_is_looked_for_anew_when_what_is_known_is_out_of_date(fleet: Fleet) -> None:
    seeker = Seeker(fleet)
    assert endpoints(seeker.find("db", 0.0, first=True)) == ["100.64.0.3:3"]
    for registration in fleet[CHARLIE].registry.registrations():
        fleet[CHARLIE].registry.withdraw(registration, 0)
    assert endpoints(seeker.find("db", 6.0, first=True)) == []


def test_one_match_is_not_what_somebody_said_before_whom_nobody_waited_for(fleet: Fleet) -> None:
    seeker, query = Seeker(fleet), Query.of("web", first=True)
    seeker.find("web", 0.0)
    fleet.fall_silent(ALPHA)
    lookup = seeker.inquirer.begin(query, seeker.snapshot, 6.0)
    assert lookup
    assert fleet.carry(lookup, 6.0) == 6.0
    assert endpoints(seeker.inquirer.finish(query, lookup, 6.0)) == ["100.64.0.2:2"]


def test_what_policy_refuses_is_not_the_one_match(fleet: Fleet) -> None:
    fleet[ALPHA].advertise("remote", 5, address="10.0.0.1")
    fleet[CHARLIE].advertise("remote", 6)
    seeker = Seeker(fleet, policy=Policy(remote=False))
    assert endpoints(seeker.find("remote", first=True)) == ["100.64.0.3:6"]


# How many peers there are


@pytest.mark.parametrize("with_holder", [True, False])
def test_our_own_host_is_not_counted_among_the_peers(fleet: Fleet, with_holder: bool) -> None:
    seeker = Seeker(fleet, me=ALPHA)
    seeker.find("web", 0.0)
    Seeker(fleet, me=ALPHA).find(None, 0.0)
    if not with_holder:
        fleet.refusing.update(ALPHA.addresses)
        seeker.find("web", 6.0)
    fleet.fall_silent(BRAVO)
    found = seeker.find("web", 12.0)
    assert (found.silent, found.asked) == (("bravo",), 2)


def test_our_own_host_is_counted_where_it_is_named_as_silent() -> None:
    fleet = Fleet(ALPHA)
    fleet[ALPHA].advertise("web", 1)
    seeker = Seeker(fleet, me=ALPHA)
    seeker.inquirer.directory.network(seeker.snapshot, with_own_host=True)
    seeker.inquirer.directory.answered(ALPHA, (), 0.0)
    fleet.fall_silent(ALPHA)
    found = seeker.find("web", 6.0)
    assert (found.silent, found.asked) == (("alpha",), 1)
