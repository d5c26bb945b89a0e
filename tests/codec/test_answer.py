"""What a response tells of services: only what the question reaches, and everything of that."""

from __future__ import annotations

from typing import Any

import dns.edns
import dns.message
import dns.rcode
import dns.rrset
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from played import ALPHA, APEX, BRAVO, SINCE, Host, peer, question

from mddns.base.model import Service, replace
from mddns.codec.answer import Answer, Told, introduce, lifetime, read_answer
from mddns.codec.instance_records import Attributes
from mddns.dns.message import Message


def told(text: str, answer: str = "", additional: str = "", *, flags: int = 0x8400, rcode: int = 0) -> Answer:
    """A response with these records, each a line of zone text."""
    query = dns.message.from_wire(question(text))
    message = dns.message.make_response(query)
    message.flags = dns.flags.Flag(flags)
    message.set_rcode(dns.rcode.Rcode(rcode))
    message.answer, message.additional = map(records, (answer, additional))
    return read_answer(Message(message.to_wire(max_size=65535)), APEX)


def records(text: str) -> list[dns.rrset.RRset]:
    lines = (line.split(maxsplit=2) for line in text.strip().splitlines() if line.strip())
    return [dns.rrset.from_text(f"{owner}.minidisc.", 5, "IN", rtype, rdata) for owner, rtype, rdata in lines]


GOOD = """
    a-80.web TXT "env=prod" "md.since=5"
    a-80.web A 100.64.0.1
    a-80.web AAAA fd7a::1
"""
SRV_OF_WEB = "web SRV 1 2 80 a-80.web.minidisc."
TOLD = Told("web", "a-80", 1, 2, 80, ("100.64.0.1", "fd7a::1"), Attributes({"env": "prod"}, 5, ()))


def test_srv_of_a_name_tells_its_instances() -> None:
    assert told("web SRV", SRV_OF_WEB, GOOD) == Answer((TOLD,), False, False, False, ())


def test_list_tells_every_instance() -> None:
    answer = told(
        "_list PTR",
        "_list PTR a-80.web.minidisc.\n_list PTR b-1.db.minidisc.",
        GOOD
        + 'a-80.web SRV 1 2 80 a-80.web.minidisc.\nb-1.db SRV 0 0 1 b-1.db.minidisc.\nb-1.db TXT ""\nb-1.db A 1.2.3.4',
    )
    assert answer.told == (TOLD, Told("db", "b-1", 0, 0, 1, ("1.2.3.4",), Attributes({}, None, ())))


TXT_LINE, A_LINE, AAAA_LINE = GOOD.strip().splitlines()


@pytest.mark.parametrize("rest", ["", TXT_LINE, A_LINE, AAAA_LINE, A_LINE + "\n" + AAAA_LINE])
def test_what_lacks_labels_or_any_address_is_partial_and_not_told(rest: str) -> None:
    answer = told("web SRV", SRV_OF_WEB, rest)
    assert (answer.told, answer.partial) == ((), True)


@pytest.mark.parametrize(("line", "address"), [(A_LINE, "100.64.0.1"), (AAAA_LINE, "fd7a::1")])
def test_an_address_of_one_family_is_enough(line: str, address: str) -> None:
    answer = told("web SRV", SRV_OF_WEB, f"{TXT_LINE}\n{line}")
    assert answer == Answer((TOLD._replace(addresses=(address,)),), False, False, False, ())


def test_a_list_whose_instances_have_no_srv_is_partial() -> None:
    assert told("_list PTR", "_list PTR a-80.web.minidisc.", GOOD)[:3] == ((), False, True)


def test_tc_is_partial() -> None:
    assert told("web SRV", flags=0x8600) == Answer((), False, True, False, ())
    assert told("web SRV", SRV_OF_WEB, GOOD, flags=0x8600)[:3] == ((TOLD,), False, True)


@pytest.mark.parametrize(
    ("rcode", "refused", "failed"),
    [
        (0, False, False),
        (1, True, False),
        (2, False, True),
        (3, False, False),
        (4, True, False),
        (5, True, False),
        (6, False, True),
        (9, True, False),
        (10, False, True),
        (16, False, True),
    ],
)
def test_who_does_not_speak_for_the_zone_has_refused(rcode: int, refused: bool, failed: bool) -> None:
    answer = told("web SRV", rcode=rcode)
    assert (answer.refused, answer.failed, answer.told) == (refused, failed, ())


@pytest.mark.parametrize(
    ("answer", "additional"),
    [
        ("db SRV 1 2 80 a-80.web.minidisc.", GOOD),  # of another name than asked
        ("web PTR a-80.web.minidisc.", "a-80.web SRV 1 2 80 b-80.web.minidisc."),  # reached, but nothing of it told
        ("web A 1.2.3.4", GOOD),
        ("web SRV 1 2 80 a-80.web.example.", GOOD.replace("a-80.web", "a-80.web.example")),
        ("web SRV 1 2 80 web.minidisc.", "web TXT a=b\nweb A 1.2.3.4"),  # no instance's name
        ("web SRV 1 2 80 x.a-80.web.minidisc.", "x.a-80.web TXT a=b\nx.a-80.web A 1.2.3.4"),
        ("web SRV 1 2 80 a._tcp.minidisc.", "a._tcp TXT a=b\na._tcp A 1.2.3.4"),  # no service's name
        ("web SRV 1 2 80 a.ns.minidisc.", "a.ns TXT a=b\na.ns A 1.2.3.4"),
        ("web SRV 1 2 0 a-80.web.minidisc.", GOOD),  # no port
    ],
)
def test_what_the_question_does_not_reach_is_not_believed(answer: str, additional: str) -> None:
    assert told("web SRV", answer, additional).told == ()


def test_records_of_others_beside_the_right_ones_change_nothing() -> None:
    extra = """
        b-80.web TXT "x=y"
        b-80.web A 6.6.6.6
        web A 6.6.6.6
        a-80.db SRV 0 0 666 a-80.db.minidisc.
        a-80.db A 6.6.6.6
    """
    assert told("web SRV", SRV_OF_WEB, GOOD + extra).told == (TOLD,)


def test_addresses_and_priorities_are_taken_as_they_are_told() -> None:
    answer = told("web SRV", "web SRV 65535 0 65535 a-80.web.minidisc.", 'a-80.web TXT ""\na-80.web AAAA ::1')
    assert answer.told[0][2:6] == (65535, 0, 65535, ("::1",))


def test_names_are_told_as_their_owner_spells_them() -> None:
    answer = told("WEB SRV", "WEB SRV 1 2 80 A-80.Web.Minidisc.", "a-80.web TXT k=V\na-80.web A 1.2.3.4")
    assert [(one.name, one.instance, one.attributes.labels) for one in answer.told] == [("Web", "A-80", {"k": "V"})]


def test_two_spellings_of_one_name_stay_as_their_owners_have_them() -> None:
    """A PTR's target may be compressed onto the other spelling; an SRV's never is."""
    host = Host(ALPHA)
    host.advertise("web", 1)
    host.advertise("WEB", 2)
    wire = host.octets(question("_list PTR"))
    assert isinstance(wire, bytes)
    assert {(one.name, one.port) for one in read_answer(Message(wire), APEX).told} == {("web", 1), ("WEB", 2)}


# Introduction


def service(**more: Any) -> Service:
    return introduce(TOLD._replace(**more), ALPHA, "played", 1.5)


def test_whose_a_service_is_comes_from_the_network_and_never_from_the_message() -> None:
    found = service()
    assert (found.host, found.owner, found.via, found.network, found.remote) == (
        "alpha",
        "ada@example.com",
        "100.64.0.1:28004",
        "played",
        False,
    )
    assert (found.endpoint, found.addresses, found.rtt_ms) == ("100.64.0.1:80", ("100.64.0.1", "fd7a::1"), 1.5)
    assert (found.name, found.labels, found.since, found.priority, found.weight) == ("web", {"env": "prod"}, 5, 1, 2)


def test_an_address_that_is_not_the_peers_own_makes_a_service_remote() -> None:
    found = service(addresses=("100.64.0.9", "100.64.0.10"))
    assert (found.endpoint, found.remote, found.via) == ("100.64.0.9:80", True, "100.64.0.1:28004")


def test_of_several_addresses_the_peers_own_is_used() -> None:
    found = service(addresses=("100.64.0.9", "fd7a::1"))
    assert (found.endpoint, found.remote) == ("[fd7a::1]:80", False)


@pytest.mark.parametrize(
    ("instance", "protocol"),
    [("a-80", "tcp"), ("a-80-udp", "udp"), ("a-80-UDP", "udp"), ("a-53-udp", "tcp"), ("", "tcp")],
)
def test_the_instance_tells_the_protocol(instance: str, protocol: str) -> None:
    assert service(instance=instance).protocol == protocol


# There and back


texts = st.text(st.characters(codec="utf-8"), max_size=30)
keys = st.text(st.sampled_from('abcXYZ019-_. !"\\'), min_size=1, max_size=12).filter(
    lambda key: not key.lower().startswith("md.")
)
labels = st.dictionaries(keys, texts, max_size=6).filter(lambda each: len({key.lower() for key in each}) == len(each))
names = st.one_of(
    st.sampled_from(["web", "a.b", "a b", "Ünïcode", "日本", "x" * 62, "\\", '"', "minidisc", "tcp"]),
    st.text(st.characters(codec="ascii", categories=("L", "N", "P", "S")), min_size=1, max_size=20),
).filter(lambda name: name[:1] != "_" and name[:4].lower() != "xn--")


@st.composite
def offers(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "name": draw(
            names.filter(lambda name: name.lower() not in ("*", "ns", "leader", "wpad", "isatap", "localhost"))
        ),
        "port": draw(st.integers(1, 65535)),
        "labels": draw(labels),
        "protocol": draw(st.sampled_from(["tcp", "udp"])),
        "priority": draw(st.integers(0, 65535)),
        "weight": draw(st.integers(0, 65535)),
        "address": draw(st.sampled_from([None, None, "100.64.0.9", "fd7a::9"])),
    }


@given(st.lists(offers(), min_size=1, max_size=5), st.booleans())
@settings(deadline=None, max_examples=150)
def test_a_service_survives_registry_message_and_introduction(wanted: list[dict[str, Any]], answers_six: bool) -> None:
    """Name, labels, port, priority, weight, protocol, addresses, age: by name and by _list."""
    for me in (ALPHA, peer("six", "fd7a::6")):
        host = Host(me)
        for offer in wanted:
            host.registry.answers_over_six(host.advertise(**offer), answers_six, 0)
        offered = {each.key: each for each in host.registry.services()}
        for text in ["_list PTR", *(f"{escaped(each.name)} SRV" for each in offered.values())]:
            wire = host.octets(question(text), tcp=True)
            assert isinstance(wire, bytes)
            found = [introduce(each, me, "played") for each in read_answer(Message(wire), APEX).told]
            expected = [each for each in offered.values() if text == "_list PTR" or text == f"{escaped(each.name)} SRV"]
            expected += [e for e in offered.values() if e not in expected and any(e.matches(x.name) for x in expected)]
            assert {each.key: essence(each) for each in found} == {each.key: essence(each) for each in expected}
            assert len(found) == len(expected)


def essence(each: Service) -> tuple[object, ...]:
    """All that must come through; which of two spellings of one pair of addresses is the endpoint's too."""
    shown = replace(each, network=None, instance="")
    return (shown.name, shown.labels, shown.endpoint, shown.addresses, shown.protocol, shown.priority, shown.weight,
            shown.since, shown.remote, shown.via, shown.host, shown.owner, shown.tags)  # fmt: skip


def escaped(name: str) -> str:
    return "".join(f"\\{octet:03d}" for octet in name.encode())


def test_what_the_played_hosts_say_is_since_the_played_time() -> None:
    host = Host(BRAVO)
    host.advertise("web", 80)
    wire = host.octets(question("web SRV"))
    assert isinstance(wire, bytes)
    assert read_answer(Message(wire), APEX).told[0].attributes.since == SINCE


# Classes, cuts, lifetimes


def test_only_records_of_class_in_are_believed() -> None:
    host = Host(ALPHA)
    host.advertise("web", 80)
    wire = host.octets(question("web SRV"))
    assert isinstance(wire, bytes)
    message = Message(wire)
    for record in (*message.answer, *message.additional):
        other = wire[: record.start - 8] + b"\0\3" + wire[record.start - 6 :]
        assert read_answer(Message(wire), APEX).told
        assert read_answer(Message(other), APEX).told == ()


@pytest.mark.parametrize(
    ("text", "partial"),
    [("1 of 2", True), ("800 of 1600", True), ("1 of 2 peers was silent: nas", False), ("of", False), ("", False)],
)
@pytest.mark.parametrize("code", [0, 23])
def test_an_rrset_that_was_cut_is_partial(text: str, partial: bool, code: int) -> None:
    message = dns.message.make_response(dns.message.from_wire(question("web SRV", use_edns=0)))
    message.answer, message.additional = records(SRV_OF_WEB), records(GOOD)
    message.use_edns(0, options=[dns.edns.EDEOption(dns.edns.EDECode(code), text)])
    answer = read_answer(Message(message.to_wire()), APEX)
    assert (answer.told, answer.partial) == ((TOLD,), partial and code == 0)


@pytest.mark.parametrize(
    ("ttls", "seconds"),
    [([5, 5, 5, 5], 5), ([9, 9, 9, 9], 5), ([5, 5, 5, 2], 2), ([5, 0, 5, 5], 0), ([1 << 31] * 4, 0)],
)
def test_a_message_holds_as_long_as_the_first_of_its_records_to_go(ttls: list[int], seconds: int) -> None:
    message = dns.message.make_response(dns.message.from_wire(question("web SRV", use_edns=0)))
    message.answer, message.additional = records(SRV_OF_WEB), records(GOOD)
    wire = message.to_wire()
    read = Message(wire)
    for record, ttl in zip((*read.answer, *read.additional), ttls, strict=True):
        wire = wire[: record.start - 6] + ttl.to_bytes(4, "big") + wire[record.start - 2 :]
    assert lifetime(Message(wire), 5) == seconds
