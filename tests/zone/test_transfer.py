"""Whole zones, in as many messages as they need; dnspython, as a secondary, is the judge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dns.message
import dns.name
import dns.rdatatype
import dns.versioned
import dns.xfr
import dns.zone
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from played import ALPHA, APEX, LOOKER_ON, STRANGER, Host, question

from mddns.base.errors import BadMessage
from mddns.dns.writer import Packer
from mddns.responder.reaction import Messages
from mddns.responder.responder import Ask, client
from mddns.zone import transfer
from mddns.zone.transfer import TransferIn


def host(count: int = 3, **labels: str) -> Host:
    made = Host(ALPHA)
    made.responder.allow(frozenset((LOOKER_ON,)))
    for port in range(1, count + 1):
        made.advertise("web", port, {"env": "prod", **labels})
    made.advertise("dns", 53, protocol="udp")
    return made


def messages(made: Host, **query: Any) -> tuple[bytes, ...]:
    answer = made.octets(question("@ AXFR", **query), tcp=True, source=LOOKER_ON)
    assert isinstance(answer, tuple)
    assert not isinstance(answer, Ask)
    return answer


def secondary(wires: tuple[bytes, ...]) -> dns.zone.Zone:
    """The zone as dnspython, following RFC 5936, takes it in."""
    zone = dns.versioned.Zone(dns.name.from_text("minidisc."))
    with dns.xfr.Inbound(zone, dns.rdatatype.AXFR) as inbound:
        done = [inbound.process_message(dns.message.from_wire(wire, xfr=True, origin=zone.origin)) for wire in wires]
    assert done == [False] * (len(wires) - 1) + [True]
    return zone


def told(wires: tuple[bytes, ...]) -> set[tuple[str, int, str]]:
    transfer = TransferIn(APEX)
    assert [transfer.feed(wire) for wire in wires] == [False] * (len(wires) - 1) + [True]
    return {(one.name, one.port, one.addresses[0]) for one in transfer.told()}


@pytest.mark.parametrize("count", [0, 3, 100, 900])
def test_a_transfer_is_the_whole_zone_for_others_and_for_us(count: int) -> None:
    made = host(count)
    wires = messages(made, use_edns=0)
    zone = secondary(wires)
    assert len(zone.get_rdataset("web", "SRV") or ()) == count
    assert zone.find_rdataset("@", "SOA")[0].serial == made.registry.serial
    assert {str(each) for each in zone.find_rdataset("_list", "PTR")} == {
        "alpha-53-udp.dns",
        *(f"alpha-{port}.web" for port in range(1, count + 1)),
    }
    assert told(wires) == {
        ("dns", 53, "100.64.0.1"),
        *(("web", port, "100.64.0.1") for port in range(1, count + 1)),
    }
    assert all(len(wire) <= 65_535 for wire in wires)
    assert (len(wires) > 1) == (count >= 100)


def test_every_record_of_a_transfer_is_an_answer_and_every_answer_in_the_transfer() -> None:
    made = host(4)
    zone = secondary(messages(made))
    for owner, rdataset in zone.iterate_rdatasets():
        if rdataset.rdtype == dns.rdatatype.SOA:
            continue
        said = made.whole(f"{owner} {dns.rdatatype.to_text(rdataset.rdtype)}")
        (rrset,) = said.message.answer
        assert {str(each) for each in rrset} == {
            each.to_text(origin=zone.origin, relativize=False) for each in rdataset
        }
    for text in ("web SRV", "web TXT", "web A", "_web._tcp PTR", "_web._tcp SRV", "alpha-1.web TXT", "ns A", "@ NS",
                 "_services._dns-sd._udp PTR", "_list PTR", "alpha-1._web._tcp SRV", "_mddns TXT"):  # fmt: skip
        name, rtype = text.split()
        (rrset,) = made.whole(text).message.answer
        assert len(zone.find_rdataset(name, rtype)) == len(rrset)


def test_views_are_in_no_transfer() -> None:
    owners = {str(owner) for owner, _ in secondary(messages(host())).iterate_rdatasets()}
    assert not {owner for owner in owners if "_env" in owner}


def test_a_transfer_goes_over_tcp_to_members_alone() -> None:
    made = host()
    assert made.ask("@ AXFR", source=LOOKER_ON).rcode == "FORMERR"
    assert made.whole("@ AXFR", source=STRANGER).rcode == "REFUSED"
    assert made.whole("web AXFR", source=LOOKER_ON).rcode in ("NOTIMP", "NOTAUTH", "REFUSED")
    assert made.whole("example.com. AXFR", source=LOOKER_ON).rcode == "REFUSED"


def test_each_message_repeats_id_and_question() -> None:
    for wire in messages(host(200), ident=77):
        said = dns.message.from_wire(wire)
        assert (said.id, str(said.question[0])) == (77, "minidisc. IN AXFR")
        assert said.flags & 0x8400 == 0x8400


# What is no transfer


def test_no_message_is_made_before_it_is_taken_but_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large zone takes long to be written down, and everybody else wants answers meanwhile."""
    made: list[int] = []

    class Counting(Packer):
        def finish(
            self, ident: int, flags: int, counts: Sequence[int], opt: bytes = b"", cut: int | None = None
        ) -> bytes:
            made.append(ident)
            return super().finish(ident, flags, counts, opt, cut)

    big = host(900)
    big.responder.allow(frozenset((LOOKER_ON,)))
    monkeypatch.setattr(transfer, "Packer", Counting)
    answer = big.responder.respond(question("@ AXFR"), client(LOOKER_ON, frozenset(), tcp=True), 0.0)
    assert isinstance(answer, Messages)
    assert len(made) == 1
    taken = 0
    for _ in answer:
        taken += 1
        assert len(made) == taken
    assert taken > 10


def test_a_transfer_under_way_is_of_the_state_in_which_it_began() -> None:
    made = host(500)
    made.responder.allow(frozenset((LOOKER_ON,)))
    before = messages(made)
    answer = made.responder.respond(question("@ AXFR"), client(LOOKER_ON, frozenset(), tcp=True), 0.0)
    assert isinstance(answer, Messages)
    made.advertise("another", 7)
    assert messages(made) != before
    assert tuple(answer) == before


def test_what_is_no_transfer_of_our_zone_is_a_bad_message() -> None:
    whole = messages(host(200))
    other = bytearray(whole[0])
    other[3] |= 5
    for wire in (bytes(other), host().whole("web SRV").wire, whole[1], whole[0][:-5], b""):
        with pytest.raises(BadMessage):
            TransferIn(APEX).feed(wire)


def test_one_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mddns.zone.transfer.MOST_MESSAGES", 20)
    first, endless = messages(host(300))[:2]
    transfer = TransferIn(APEX)
    transfer.feed(first)
    with pytest.raises(BadMessage, match="too large"):
        all(not transfer.feed(endless) for _ in range(100))


def test_octets_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mddns.zone.transfer.MOST_OCTETS", 100_000)
    first, endless = messages(host(300))[:2]
    transfer = TransferIn(APEX)
    transfer.feed(first)
    with pytest.raises(BadMessage, match="too large"):
        all(not transfer.feed(endless) for _ in range(100))


def test_more_than_1000_services_are_nonsense() -> None:
    """No honest host has them."""
    ours, others = Host(ALPHA), Host(ALPHA)
    for made, name in ((ours, "web"), (others, "db")):
        made.responder.allow(frozenset((LOOKER_ON,)))
        for port in range(1, 901):
            made.advertise(name, port)
    transfer = TransferIn(APEX)
    for wire in (*messages(ours)[:-1], *messages(others)[1:-1]):
        transfer.feed(wire)
    with pytest.raises(BadMessage, match="1000"):
        transfer.told()


@given(st.integers(0, 40), st.dictionaries(st.sampled_from("abc"), st.text(max_size=200).filter(str.isascii)))
@settings(deadline=None, max_examples=15)
def test_list_and_transfer_tell_the_same(count: int, labels: dict[str, str]) -> None:
    from mddns.codec.answer import read_answer
    from mddns.dns.message import Message

    made = host(count, **{f"x{key}": value for key, value in labels.items()})
    transfer = TransferIn(APEX)
    for wire in messages(made):
        transfer.feed(wire)
    listed = read_answer(Message(made.whole("_list PTR").wire), APEX).told
    assert sorted(map(repr, transfer.told())) == sorted(map(repr, listed))
