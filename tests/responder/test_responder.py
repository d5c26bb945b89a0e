"""Octets in, octets out: what a host says on its port, judged by dnspython (design.md sections 3 and 4)."""

from __future__ import annotations

import struct
from collections.abc import MutableSequence
from itertools import pairwise
from typing import Any

import dns.edns
import dns.message
import dns.opcode
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from played import (
    ALPHA,
    APEX,
    BRAVO,
    CHARLIE,
    LOOKER_ON,
    SINCE,
    STRANGER,
    Fleet,
    Host,
    Said,
    name,
    peer,
    question,
    zone,
)

import mddns.responder.responder
from mddns.base.model import DEFAULT_PORT
from mddns.dns.message import MAX_MESSAGE
from mddns.responder.bounded_cache import Cache
from mddns.responder.responder import Ask, client

SIZES = [0, 1, 100, 511, 512, 513, 600, 1000, 1231, 1232, 1233, 1400, 4096, 65535]


@pytest.fixture
def alpha() -> Host:
    host = Host(ALPHA)
    host.advertise("web", 8080, {"env": "prod"})
    return host


def crowd(count: int) -> Host:
    """A host with `count` instances of web, every tenth of them with priority 1."""
    host = Host(ALPHA)
    for port in range(1, count + 1):
        host.advertise("web", port, {"number": f"{port}"}, priority=1 if port % 10 == 0 else 10)
    return host


# The header


def test_an_answer_from_the_zone_is_authoritative_and_offers_recursion(alpha: Host) -> None:
    for text in ("web SRV", "nope A", "web AAAA", "@ SOA", "web ANY"):
        assert alpha.ask(text).flags == {"QR", "AA", "RA"}


@pytest.mark.parametrize("bits", range(16))
def test_rd_and_cd_are_copied_and_ad_never_is(alpha: Host, bits: int) -> None:
    wire = bytearray(question("ns A"))  # ours whatever RD says
    wire[2] |= bits & 1  # RD
    wire[3] |= (bits >> 1 & 1) << 4 | (bits >> 2 & 1) << 5 | (bits >> 3) << 6  # CD, AD, Z
    answer = alpha.octets(bytes(wire))
    assert isinstance(answer, bytes)
    assert answer[2] & 1 == bits & 1
    assert answer[3] & 0x70 == (bits >> 1 & 1) << 4


@pytest.mark.parametrize("ident", [0, 1, 0xFFFF])
def test_the_id_is_the_questions(alpha: Host, ident: int) -> None:
    for text in ("web SRV", "nope A", "example.com. A"):
        assert alpha.ask(text, ident=ident).message.id == ident


def test_the_question_is_echoed_as_it_was_asked(alpha: Host) -> None:
    said = alpha.ask("WeB.MINIdisc. SRV")
    assert said.question == "WeB.MINIdisc. IN SRV"
    assert said.answer == zone("WeB 5 IN SRV 10 10 8080 alpha-8080.web")


def test_an_answer_is_not_answered(alpha: Host) -> None:
    wire = bytearray(question("web SRV"))
    wire[2] |= 0x80
    assert alpha.octets(bytes(wire)) is None


@pytest.mark.parametrize("opcode", range(1, 16))
def test_other_opcodes_are_notimp(alpha: Host, opcode: int) -> None:
    wire = bytearray(question("web SRV", rd=True))
    wire[2] |= opcode << 3
    answer = alpha.octets(bytes(wire))
    assert isinstance(answer, bytes)
    assert answer == wire[:2] + bytes((0x81 | opcode << 3, 4)) + bytes(8)


@pytest.mark.parametrize("count", [0, 2, 65535])
def test_other_than_one_question_is_formerr(alpha: Host, count: int) -> None:
    wire = question("web SRV")
    for message in (wire[:4] + struct.pack("!H", count) + wire[6:], wire[:4] + struct.pack("!H", count) + bytes(6)):
        said = alpha.octets(message)
        assert said == message[:2] + b"\x80\x01" + bytes(8)


@pytest.mark.parametrize("length", range(12))
def test_less_than_a_header_is_not_answered(alpha: Host, length: int) -> None:
    assert alpha.octets(question("web SRV")[:length]) is None


def test_every_cut_off_query_is_formerr(alpha: Host) -> None:
    wire = question("web SRV", use_edns=0)
    for length in range(12, len(wire)):
        assert alpha.octets(wire[:length]) == wire[:2] + b"\x80\x01" + bytes(8)


def test_octets_behind_the_message_are_formerr(alpha: Host) -> None:
    wire = question("web SRV", use_edns=0)
    assert alpha.octets(wire + b"\0") == wire[:2] + b"\x80\x01" + bytes(8)


@pytest.mark.parametrize("rclass", ["CH", "HS", "ANY"])
def test_other_classes_are_refused(alpha: Host, rclass: str) -> None:
    query = dns.message.make_query(name("web"), "SRV", rclass)
    answer = alpha.octets(query.to_wire())
    assert isinstance(answer, bytes)
    said = Said(answer)
    assert (said.rcode, said.nothing, said.message.question) == ("REFUSED", True, query.question)


# What is ours


@pytest.mark.parametrize(
    "owner",
    [
        "example.com.",
        ".",
        "xminidisc.",
        "web.notminidisc.",
        "disc.",
        r"web.a\008minidisc.",
        "com.minidisc.org.",
        "idisc.",
    ],
)
@pytest.mark.parametrize("rd", [False, True])
def test_outside_the_zone_is_refused_with_the_question_and_without_authority(owner: str, rd: bool) -> None:
    host = Host(ALPHA)
    said = host.ask(f"{owner} SRV", rd=rd)
    assert (said.rcode, said.nothing, said.question) == ("REFUSED", True, f"{name(owner)} IN SRV")
    assert not said.flags & {"AA", "RA", "TC"}


def test_another_apex_is_another_zone() -> None:
    from mddns.base.names import Name

    host = Host(ALPHA, apex=Name.parse("MiniDisc.Internal"))
    host.advertise("web", 80)
    assert host.ask("web.minidisc.internal. SRV").rcode == "NOERROR"
    assert host.ask("web.minidisc. SRV").rcode == "REFUSED"
    assert host.ask("minidisc.internal. SOA").rcode == "NOERROR"


@pytest.mark.parametrize("rd", [False, True])
def test_soa_ns_and_version_are_of_whoever_answers_whatever_rd_says(alpha: Host, rd: bool) -> None:
    serial = alpha.registry.serial
    assert alpha.ask("@ SOA", rd=rd).answer == zone(f"@ 5 IN SOA ns hostmaster {serial} 60 10 3600 1")
    assert alpha.ask("@ NS", rd=rd).answer == zone("@ 5 IN NS ns")
    assert alpha.ask("@ NS", rd=rd).additional == zone("ns 5 IN A 100.64.0.1\nns 5 IN AAAA fd7a::1")
    assert alpha.ask("ns A", rd=rd).answer == zone("ns 5 IN A 100.64.0.1")
    assert alpha.ask("ns AAAA", rd=rd).answer == zone("ns 5 IN AAAA fd7a::1")
    assert alpha.ask("_mddns TXT", rd=rd).answer == zone('_mddns 5 IN TXT "md.v=1"')


def test_the_serial_moves_with_every_change_and_is_in_the_negatives_too(alpha: Host) -> None:
    def serial() -> int:
        negative = alpha.ask("nope A").message.authority[0][0].serial
        assert negative == alpha.ask("@ SOA").message.answer[0][0].serial
        return int(negative)

    first = serial()
    assert first == SINCE // 10 % 2**32 + 1
    alpha.advertise("db", 1)
    assert serial() == first + 1


@pytest.mark.parametrize(
    ("owner", "rtype"),
    [("web", "SRV"), ("alpha-8080.web", "SRV"), ("_web._tcp", "SRV"), ("_list", "PTR"), ("@", "SOA"), ("ns", "A")],
)
def test_any_gets_one_rrset(alpha: Host, owner: str, rtype: str) -> None:
    said = alpha.ask(f"{owner} ANY")
    assert said.answer == alpha.ask(f"{owner} {rtype}").answer
    assert said.answer


def test_any_of_a_missing_name_is_nxdomain_and_of_an_empty_one_nodata(alpha: Host) -> None:
    assert alpha.ask("nope ANY").rcode == "NXDOMAIN"
    assert (alpha.ask("_tcp ANY").rcode, alpha.ask("_tcp ANY").answer) == ("NOERROR", set())


# EDNS


def test_opt_answers_opt_and_its_absence_absence(alpha: Host) -> None:
    for text in ("web SRV", "nope A", "example.com. A"):
        assert alpha.ask(text).message.edns == -1
        said = alpha.ask(text, use_edns=0)
        assert (said.message.edns, said.message.payload) == (0, 1232)


@pytest.mark.parametrize("version", [1, 2, 255])
@pytest.mark.parametrize("text", ["web SRV", "nope A", "example.com. A"])
def test_a_later_edns_version_is_badvers_and_told_ours(alpha: Host, version: int, text: str) -> None:
    said = alpha.ask(text, use_edns=version, rd=True)
    assert (said.rcode, said.message.edns, said.nothing) == ("BADVERS", 0, True)


def test_do_is_copied(alpha: Host) -> None:
    for text in ("web SRV", "nope A", "example.com. A"):
        assert alpha.ask(text, use_edns=0, ednsflags=0x8000).message.ednsflags == 0x8000
        assert alpha.ask(text, use_edns=0, ednsflags=0x7FFF).message.ednsflags == 0


def test_unknown_options_are_ignored(alpha: Host) -> None:
    options = [
        dns.edns.GenericOption(dns.edns.OptionType.make(10), b"cookie!!"),
        dns.edns.GenericOption(dns.edns.OptionType.make(65001), b"\0" * 100),
        dns.edns.GenericOption(dns.edns.OptionType.make(8), b"\0\1\x18\0\x0a\0\0"),
        dns.edns.GenericOption(dns.edns.OptionType.make(3), b""),
    ]
    said = alpha.ask("web SRV", use_edns=0, options=options)
    assert (said.rcode, said.message.options) == ("NOERROR", ())
    assert said.answer == alpha.ask("web SRV").answer


def with_opts(*opts: bytes) -> bytes:
    wire = question("web SRV")
    return wire[:10] + struct.pack("!H", len(opts)) + wire[12:] + b"".join(opts)


OPT = b"\0\0\x29\x04\xd0\0\0\0\0\0\0"


@pytest.mark.parametrize(
    "opts",
    [
        (OPT, OPT),
        (b"\1a" + OPT,),
        (OPT[:-2] + b"\0\3abc",),
        (OPT[:-2] + b"\0\4\0\x0a\0\5",),
        (OPT[:-2] + b"\0\5\0\x0a\0\0x",),
        (OPT[:-1],),
        (OPT[:-2] + b"\xff\xff",),
        (OPT, b"\0\0\1\0\1\0\0\0\0\0\0", b"\0\0\1\0\1\0\0\0\0\0\0"),
    ],
    ids=["two", "not the root's", "cut", "option cut", "option with rest", "no length", "length", "three records"],
)
def test_a_bad_opt_is_formerr(alpha: Host, opts: tuple[bytes, ...]) -> None:
    assert alpha.octets(with_opts(*opts)) == b"\x12\x67\x80\x01" + bytes(8)


def test_records_beside_the_opt_are_stepped_over(alpha: Host) -> None:
    tsig = b"\1k\0\0\xfa\0\xff\0\0\0\0\0\2xx"
    answer = alpha.octets(with_opts(OPT, tsig))
    assert isinstance(answer, bytes)
    assert Said(answer).answer == alpha.ask("web SRV").answer


def test_a_query_with_answers_in_it_is_formerr(alpha: Host) -> None:
    wire = question("web SRV")
    record = b"\0\0\1\0\1\0\0\0\0\0\0"
    for at in (7, 9):
        message = bytearray(wire + record)
        message[at] = 1
        assert alpha.octets(bytes(message)) == b"\x12\x67\x80\x01" + bytes(8)


@pytest.mark.parametrize("qtype", ["OPT", "IXFR"])
def test_types_that_are_no_data_are_refused_politely(alpha: Host, qtype: str) -> None:
    said = alpha.ask(f"web {qtype}")
    assert (said.rcode, said.nothing) == ({"OPT": "FORMERR", "IXFR": "NOTIMP"}[qtype], True)


# Sizes


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("text", ["web SRV", "_web._tcp PTR", "_list PTR", "web A", "web TXT", "@ NS", "nope SRV"])
def test_a_udp_answer_is_never_larger_than_asked_or_1232(size: int, text: str) -> None:
    for count in (1, 3, 8, 30):
        check_size(crowd(count), size, text)


def check_size(host: Host, size: int, text: str) -> None:
    said = host.ask(text, use_edns=0, payload=size)
    assert len(said.wire) <= min(max(size, 512), 1232)
    full = host.whole(text)
    if "TC" in said.flags:
        assert said.nothing
        assert (said.question, said.message.edns, said.rcode) == (full.question, 0, "NOERROR")
        # Whoever gave up could not have done better.
        least = len(full.wire) if text.startswith("_list") else len(bare(full))
        assert least + len(OPT) > min(max(size, 512), 1232)
    else:
        assert (said.answer, said.authority, said.rcode) == (full.answer, full.authority, full.rcode)
        assert said.additional <= full.additional


def bare(said: Said) -> bytes:
    """The message without its additional section, as dnspython writes it."""
    message = dns.message.from_wire(said.wire)
    message.additional.clear()
    return message.to_wire(max_size=MAX_MESSAGE)


def test_without_edns_512_octets_are_the_limit() -> None:
    for count in range(1, 40):
        assert len(crowd(count).ask("web SRV").wire) <= 512


def test_on_loopback_and_from_this_host_more_is_sent() -> None:
    host = crowd(100)
    for source in ("127.0.0.1", "::1", *ALPHA.addresses):
        said = host.ask("web SRV", source=source, use_edns=0, payload=65535)
        assert len(said.answer) == 100
        assert len(host.ask("web SRV", source=source, use_edns=0, payload=4096).wire) <= 4096
    assert "TC" in host.ask("web SRV", source="128.0.0.1", use_edns=0, payload=65535).flags


@pytest.mark.parametrize("text", ["web SRV", "_web._tcp SRV", "_web._tcp PTR"])
def test_additionals_are_dropped_before_tc_and_only_whole_instances(text: str) -> None:
    """A service's labels and addresses come together or not at all."""
    seen = set()
    for count in range(1, 30):
        said = crowd(count).ask(text, use_edns=0, payload=1232)
        if "TC" in said.flags:
            continue
        targets = {line.split()[0] for line in said.additional if " IN A " in line}
        texts = {line.split()[0].split(".")[0] for line in said.additional if " IN TXT " in line}
        assert len(said.answer) == count
        assert {target.split(".")[0] for target in targets} == texts
        seen.add(0 < len(targets) < count)
    assert seen == {True, False}


def test_300_instances_are_tc_over_udp_and_whole_over_tcp() -> None:
    host = crowd(300)
    for text in ("web SRV", "_web._tcp SRV", "_web._tcp PTR", "_list PTR", "web TXT", "_services._dns-sd._udp PTR"):
        short = host.ask(text, use_edns=0)
        full = host.whole(text, use_edns=0)
        many = not text.startswith("_services")
        assert ("TC" in short.flags) is many
        assert len(full.answer) == (300 if many else 1)
        assert "TC" not in full.flags
    assert host.ask("web A", use_edns=0).answer == zone("web 5 IN A 100.64.0.1")


@pytest.mark.parametrize("edns", [-1, 0])
@pytest.mark.parametrize(("rtype", "form"), [("A", "192.0.2.{}"), ("AAAA", "2001:db8::{:x}")])
def test_of_addresses_that_do_not_fit_some_come_with_tc_the_best_first(rtype: str, form: str, edns: int) -> None:
    """For stubs that have no TCP, as musl before 1.2.4."""
    host = Host(ALPHA)
    for number in range(1, 101):
        host.advertise("web", 80, address=form.format(number), priority=101 - number)
    short = host.ask(f"web {rtype}", use_edns=edns)
    limit = 1232 if edns == 0 else 512
    size = 16 if rtype == "A" else 28
    assert limit - size < len(short.wire) <= limit
    assert "TC" in short.flags
    count = len(short.answer)
    assert short.answer == zone("".join(f"web 5 IN {rtype} {form.format(100 - n)}\n" for n in range(count)))
    assert len(host.whole(f"web {rtype}", use_edns=edns).answer) == 100


@pytest.mark.parametrize("count", [80, 130, 300, 480])
def test_answers_beyond_16_kib_are_read_record_by_record_by_others(count: int) -> None:
    """Pointers hold 14 bits: what stands behind 16,383 octets must be written out (and dnslib gets it wrong)."""
    host = crowd(count)
    expected = "".join(
        f"""
        alpha-{port}.web 5 IN SRV {1 if port % 10 == 0 else 10} 10 {port} alpha-{port}.web
        alpha-{port}.web 5 IN TXT "md.since={SINCE}" "number={port}"
        alpha-{port}.web 5 IN A 100.64.0.1"""
        for port in range(1, count + 1)
    )
    said = host.whole("_list PTR")
    # TXT strings: the user's labels, then ours.
    swapped = {line.replace(f'"md.since={SINCE}" ', "") for line in zone(expected)}
    assert {line.replace(f' "md.since={SINCE}"', "") for line in said.additional} == swapped
    assert said.answer == zone("".join(f"_list 5 IN PTR alpha-{port}.web\n" for port in range(1, count + 1)))


def test_an_answer_grows_to_65535_octets_before_anything_is_left_out() -> None:
    """Every size on the way is read by dnspython, each of its records once."""
    largest = 0
    for count in (600, 1000):
        host = Host(ALPHA)
        for port in range(1, count + 1):
            host.advertise("web", port, {"k": "v" * 20})
        for text in ("web SRV", "_web._tcp PTR"):
            said = host.whole(text, use_edns=0)
            assert len(said.answer) == count
            assert not said.errors
            largest = max(largest, len(said.wire))
    assert 65_535 - 200 < largest <= 65_535


def test_a_list_that_no_message_holds_is_tc_over_tcp_too() -> None:
    host = crowd(700)
    said = host.whole("_list PTR", use_edns=0)
    assert (said.flags, said.nothing) == ({"QR", "AA", "RA", "TC"}, True)


def huge(*, rd: bool = False) -> Host:
    """More instances of one name than a message holds: 40 hosts' worth, merged."""
    peers = [peer(f"a-machine-with-a-very-long-name-{n}", f"100.64.1.{n}") for n in range(1, 41)]
    fleet = Fleet(ALPHA, *peers)
    for each in peers:
        for port in range(1, 41):
            fleet[each].advertise("web", 1000 + port, {"p": f"{port}"}, priority=5 if port == 1 else 10)
    assert fleet.ask(ALPHA, "web SRV").answer
    return fleet[ALPHA]


def test_an_rrset_above_65535_octets_tells_the_best_priority_first_and_how_much_it_is() -> None:
    said = huge().whole("web SRV", rd=True, use_edns=0, source=LOOKER_ON)
    count = len(said.answer)
    assert 65_000 < len(said.wire) <= 65_535
    assert 500 < count < 1600
    assert said.errors == [(0, f"{count} of 1600")]
    assert sum(" SRV 5 " in line for line in said.answer) == 40
    assert "TC" not in said.flags


def test_of_an_rrset_that_no_message_holds_a_random_part_is_told() -> None:
    host = huge()

    def turn(rdatas: MutableSequence[Any]) -> None:
        rdatas[:] = [*rdatas[777:], *rdatas[:777]]

    host.responder._shuffle = turn
    first = host.whole("web SRV", rd=True, source=LOOKER_ON)
    host.responder._shuffle = MutableSequence.reverse
    second = host.whole("WEB SRV", rd=True, source=LOOKER_ON, use_edns=0)
    assert first.message.edns == -1
    assert {line.lower() for line in first.answer} != {line.lower() for line in second.answer}


# Kept answers


CASES = st.lists(
    st.tuples(
        st.sampled_from(
            ["web SRV", "WEB SRV", "wEb.Minidisc. SRV", "_list PTR", "_LIST PTR", "nope A", "NOPE A", "@ NS"]
        ),
        st.integers(0, 0xFFFF),
        st.booleans(),  # over TCP
        st.sampled_from([None, 512, 600, 1232, 4096]),
        st.sampled_from([0, 0x8000]),
        st.sampled_from([b"", b"12345678", b"abcdefgh"]),
        st.booleans(),  # CD
        st.sampled_from([STRANGER, "127.0.0.1", "100.64.0.1"]),
    ),
    min_size=2,
    max_size=12,
)


@given(CASES)
@settings(deadline=None, max_examples=60)
def test_kept_answers_equal_fresh_ones(cases: list[tuple[str, int, bool, int | None, int, bytes, bool, str]]) -> None:
    """The same question in other cases, with other ids, cookies, sizes, flags, from others: nobody gets another's."""
    kept = crowd(9)
    for text, ident, tcp, size, do, cookie, cd, source in cases:
        edns: dict[str, Any] = {} if size is None else {"use_edns": 0, "payload": size, "ednsflags": do}
        if edns and cookie:
            edns["options"] = [dns.edns.GenericOption(dns.edns.OptionType.make(10), cookie)]
        wire = bytearray(question(text, ident=ident, **edns))
        wire[3] |= cd << 4
        for _ in range(2):
            answer = kept.octets(bytes(wire), tcp=tcp, source=source)
            assert answer == crowd(9).octets(bytes(wire), tcp=tcp, source=source)
            assert isinstance(answer, bytes)
            assert Said(answer).message.id == ident


def test_a_kept_answer_ends_with_the_next_change(alpha: Host) -> None:
    for _ in range(2):
        assert len(alpha.ask("web SRV").answer) == 1
    other = alpha.advertise("web", 8081)
    assert len(alpha.ask("web SRV").answer) == 2
    alpha.registry.withdraw(other, 0)
    assert len(alpha.ask("web SRV").answer) == 1
    alpha.registry.moved(peer("alpha", "100.64.0.77"), False, 0)
    assert alpha.ask("ns A").answer == zone("ns 5 IN A 100.64.0.77")


def test_names_with_a_zero_octet_that_look_alike_to_the_cache_are_kept_apart(alpha: Host) -> None:
    """A label holds what looks like the end of the name, type, class, and an OPT record with a cookie."""

    def odd(cookie: bytes) -> bytes:
        behind = b"\x08minidisc\0\0\x21\0\1" + b"\0\0\x29\4\xd0\0\0\0\0\0\0"
        options = b"\0\x0a" + (len(cookie + behind)).to_bytes(2, "big") + cookie
        size = (len(options) + len(behind)).to_bytes(2, "big")
        label = b"x\0" + b"\0\x21\0\1" + b"\0\0\x29\4\xd0\0\0\0\0" + size + options
        return b"\x12\x67\0\0\0\1\0\0\0\0\0\1" + bytes((len(label),)) + label + behind

    for wire in (odd(b"a" * 20), odd(b"b" * 20), odd(b"c" * 20)):
        answer = alpha.octets(wire)
        assert isinstance(answer, bytes)
        assert answer[12:60] == wire[12:60]
        assert Said(answer).rcode == "NXDOMAIN"
    for caches in (alpha.responder._own, alpha.responder._merged):
        assert not caches.found
    assert not any(map(any, alpha.responder.hot(0.0).values()))


def test_a_flood_of_different_names_sizes_and_clients_fills_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mddns.responder.responder, "_CACHED_ANSWERS", 50)
    monkeypatch.setattr(mddns.responder.responder, "_HOT_ANSWERS", 50)
    monkeypatch.setattr(mddns.responder.responder, "_CACHED_OCTETS", 1 << 14)
    fleet = Fleet(ALPHA, BRAVO)
    host = fleet[ALPHA]
    responder = host.responder
    fleet.ask(ALPHA, "web SRV")
    caches: tuple[Cache[Any, Any], ...] = (responder._own, responder._merged)
    kept = [False] * 3
    for number in range(600):
        for rd in (False, True):
            wire = question(f"n{number} A", rd=rd, use_edns=0, payload=512 + number)
            first, again = (fleet.octets(host, wire, now=0.0, source=LOOKER_ON, tcp=False) for _ in range(2))
            assert first == again is not None
        hot = [(key, *ready) for group in responder.hot(0.0)[LOOKER_ON] for key, ready in group.items()]
        filled = [cache.found.values() for cache in caches] + [hot]
        assert all(len(entries) <= 50 for entries in filled)
        assert all(sum(map(size_of, entries)) <= 1 << 14 for entries in filled)
        kept = [before or bool(entries) for before, entries in zip(kept, filled, strict=True)]
    assert kept == [True] * 3


def size_of(value: Any) -> int:
    """The octets in a kept value, or in a question and its answer."""
    return sum(len(each) for each in ([value] if isinstance(value, bytes) else value) if isinstance(each, bytes))


# RD=1: the whole network's


def test_rd_1_is_everybodys_and_rd_0_this_hosts_alone() -> None:
    fleet = Fleet(ALPHA, BRAVO, CHARLIE)
    for each in (ALPHA, BRAVO, CHARLIE):
        fleet[each].advertise("web", 80)
    assert fleet.ask(ALPHA, "web SRV").answer == zone("""
        web 5 IN SRV 10 10 80 alpha-80.web
        web 5 IN SRV 10 10 80 bravo-80.web
        web 5 IN SRV 10 10 80 charlie-80.web
    """)
    assert fleet.ask(ALPHA, "web SRV", rd=False).answer == zone("web 5 IN SRV 10 10 80 alpha-80.web")


def test_every_host_says_the_same() -> None:
    fleet = Fleet(ALPHA, BRAVO, CHARLIE)
    fleet[ALPHA].advertise("web", 80, {"env": "prod"})
    fleet[BRAVO].advertise("web", 81, {"env": "test"})
    for text in ("web SRV", "web TXT", "web A", "_list PTR", "_web._tcp PTR", "web.prod._env SRV", "_tcp A"):
        first, *others = (fleet.ask(each, text) for each in (ALPHA, BRAVO, CHARLIE))
        for other in others:
            assert (other.answer, other.additional, other.rcode) == (first.answer, first.additional, first.rcode)


def test_a_name_that_one_of_them_has_is_no_nxdomain() -> None:
    fleet = Fleet(ALPHA, BRAVO, CHARLIE)
    fleet[CHARLIE].advertise("db", 80)
    assert fleet.ask(ALPHA, "db SRV").rcode == "NOERROR"
    assert fleet.ask(ALPHA, "db AAAA").rcode == "NOERROR"
    assert fleet.ask(ALPHA, "_tcp A").rcode == "NOERROR"
    said = fleet.ask(ALPHA, "nope SRV")
    assert (said.rcode, said.flags, len(said.authority)) == ("NXDOMAIN", {"QR", "AA", "RA", "RD"}, 1)


def test_peers_are_asked_for_their_list_once_a_ttl_whatever_the_name() -> None:
    fleet = Fleet(ALPHA, BRAVO, CHARLIE)
    fleet[BRAVO].advertise("web", 80)
    fleet[CHARLIE].advertise("db", 80)
    for moment in (0.0, 0.1, 1.0, 4.9):
        for text in ("web SRV", "db SRV", "web A", "_list PTR"):
            fleet.ask(ALPHA, text, now=moment)
    assert sorted(fleet.asked) == [("100.64.0.2", False), ("100.64.0.3", False)]
    fleet.ask(ALPHA, "web SRV", now=5.0)
    assert len(fleet.asked) == 4


def test_that_there_is_nothing_is_believed_for_a_second() -> None:
    fleet = Fleet(ALPHA, BRAVO)
    assert fleet.ask(ALPHA, "web SRV", now=0.0).rcode == "NXDOMAIN"
    fleet[BRAVO].advertise("web", 80)
    assert fleet.ask(ALPHA, "web SRV", now=0.9).rcode == "NXDOMAIN"
    assert fleet.ask(ALPHA, "web SRV", now=1.0).rcode == "NOERROR"


def test_ttl_is_what_is_left() -> None:
    fleet = Fleet(ALPHA, BRAVO)
    fleet[BRAVO].advertise("web", 80)
    left = {now: fleet.ask(ALPHA, "web SRV", now=now).ttls for now in (0.0, 0.5, 1.0, 2.5, 3.0, 4.0, 4.9)}
    assert left == {0.0: {5}, 0.5: {5}, 1.0: {4}, 2.5: {3}, 3.0: {2}, 4.0: {1}, 4.9: {1}}
    assert fleet.ask(ALPHA, "web SRV", now=5.0).ttls == {5}


def test_what_a_peer_changes_is_seen_after_the_ttl() -> None:
    fleet = Fleet(ALPHA, BRAVO)
    web = fleet[BRAVO].advertise("web", 80)
    fleet.ask(ALPHA, "web SRV")
    fleet[BRAVO].registry.withdraw(web, SINCE)
    assert fleet.ask(ALPHA, "web SRV", now=4.9).rcode == "NOERROR"
    assert fleet.ask(ALPHA, "web SRV", now=5.0).rcode == "NXDOMAIN"


def test_our_own_services_are_always_fresh() -> None:
    fleet = Fleet(ALPHA, BRAVO)
    fleet[ALPHA].advertise("web", 80)
    fleet.ask(ALPHA, "web SRV", now=0.0)
    fleet[ALPHA].advertise("web", 81)
    assert len(fleet.ask(ALPHA, "web SRV", now=0.1).answer) == 2


def known_fleet() -> Fleet:
    """Alpha knows that bravo and charlie are registries; bravo offers web, charlie db."""
    fleet = Fleet(ALPHA, BRAVO, CHARLIE)
    fleet[BRAVO].advertise("web", 80)
    fleet[CHARLIE].advertise("db", 80)
    fleet.ask(ALPHA, "web SRV", now=0.0)
    return fleet


def test_what_a_silent_registry_said_stands_and_the_answer_says_so() -> None:
    fleet = known_fleet()
    fleet.fall_silent(BRAVO)
    said = fleet.ask(ALPHA, "web SRV", now=6.0)
    assert (said.rcode, said.answer) == ("NOERROR", zone("web 5 IN SRV 10 10 80 bravo-80.web"))
    assert said.errors == [(23, "1 of 2 peers was silent: bravo")]
    assert fleet.ask(ALPHA, "db SRV", now=6.0).errors == [(23, "1 of 2 peers was silent: bravo")]


def test_nothing_found_while_a_registry_is_silent_is_servfail_with_its_name() -> None:
    fleet = known_fleet()
    fleet.fall_silent(BRAVO)
    for text in ("nope SRV", "_nope._tcp SRV", "nope._env A"):
        said = fleet.ask(ALPHA, text, now=6.0)
        assert (said.rcode, said.errors, said.nothing) == ("SERVFAIL", [(22, "1 of 2 peers was silent: bravo")], True)
    assert fleet.ask(ALPHA, "nope SRV", now=6.0, use_edns=False).rcode == "SERVFAIL"


def test_several_silent_ones_are_all_named() -> None:
    fleet = known_fleet()
    fleet.fall_silent(BRAVO, CHARLIE)
    assert fleet.ask(ALPHA, "nope A", now=6.0).errors == [(22, "2 of 2 peers were silent: bravo, charlie")]


def test_a_missing_type_of_a_known_name_is_nodata_even_then() -> None:
    fleet = known_fleet()
    fleet.fall_silent(BRAVO)
    said = fleet.ask(ALPHA, "db AAAA", now=6.0)
    assert (said.rcode, said.answer, said.errors[0][0]) == ("NOERROR", set(), 23)


def test_after_30_seconds_without_an_answer_a_peer_is_gone_and_delays_nothing() -> None:
    fleet = known_fleet()
    fleet.fall_silent(BRAVO)
    for now in (6.0, 12.0, 18.0, 24.0, 28.9):
        assert fleet.ask(ALPHA, "web SRV", now=now).rcode == "NOERROR"
    assert fleet.ask(ALPHA, "web SRV", now=32.0).rcode == "NXDOMAIN"
    said = fleet.ask(ALPHA, "db SRV", now=40.0)
    assert (said.rcode, said.errors) == ("NOERROR", [])
    # It is asked, ever more rarely, and not waited for.
    before = fleet.asked.count(("100.64.0.2", False))
    for now in range(60, 600):
        fleet.ask(ALPHA, "db SRV", now=float(now))
    assert 1 <= fleet.asked.count(("100.64.0.2", False)) - before <= 12


def test_a_peer_that_was_gone_and_answers_again_is_back() -> None:
    fleet = known_fleet()
    fleet.fall_silent(BRAVO)
    for now in (6.0, 12.0, 40.0):
        fleet.ask(ALPHA, "web SRV", now=now)
    fleet.wake(BRAVO)
    assert fleet.ask(ALPHA, "web SRV", now=400.0).rcode == "NOERROR"


def test_peers_that_never_were_registries_make_no_servfail() -> None:
    fleet = Fleet(ALPHA, BRAVO, CHARLIE)
    fleet.fall_silent(BRAVO)
    fleet.refusing.update(CHARLIE.addresses)
    said = fleet.ask(ALPHA, "nope SRV")
    assert (said.rcode, said.errors) == ("NXDOMAIN", [])


def test_a_registry_that_refuses_has_ended_and_is_no_silent_one() -> None:
    fleet = known_fleet()
    fleet.refusing.update(BRAVO.addresses)
    said = fleet.ask(ALPHA, "web SRV", now=6.0)
    assert (said.rcode, said.errors) == ("NXDOMAIN", [])


def test_a_peer_that_refused_is_left_alone_until_it_asks_us_something() -> None:
    fleet = Fleet(ALPHA, BRAVO)
    fleet[BRAVO].advertise("web", 80)
    fleet.refusing.update(BRAVO.addresses)
    assert fleet.ask(ALPHA, "web SRV", now=0.0).rcode == "NXDOMAIN"
    fleet.refusing.clear()
    assert fleet.ask(ALPHA, "web SRV", now=2.0).rcode == "NXDOMAIN"
    fleet[ALPHA].directory.heard(BRAVO.id)
    assert fleet.ask(ALPHA, "web SRV", now=2.0).rcode == "NOERROR"


def test_refusals_pause_a_peer_for_5_seconds_doubling_to_5_minutes() -> None:
    fleet = Fleet(ALPHA, BRAVO)
    fleet.refusing.update(BRAVO.addresses)
    asked_at = []
    for now in range(2400):
        before = len(fleet.asked)
        fleet.ask(ALPHA, "web SRV", now=float(now))
        if len(fleet.asked) > before:
            asked_at.append(now)
    pauses = [later - earlier for earlier, later in pairwise(asked_at)]
    assert pauses == [5, 10, 20, 40, 80, 160, *[300] * (len(pauses) - 6)]
    assert len(pauses) > 8


def test_before_the_first_peer_list_there_is_no_merged_answer() -> None:
    host = Host(ALPHA)
    host.responder.allow(frozenset(("100.64.0.1",)))
    said = host.ask("web SRV", rd=True, source="100.64.0.1", use_edns=0)
    assert (said.rcode, said.errors[0][0], said.nothing) == ("SERVFAIL", 14, True)


def test_before_the_first_peer_list_nobody_is_a_stranger() -> None:
    said = Host(ALPHA).ask("web SRV", rd=True, use_edns=0)
    assert (said.rcode, said.errors[0][0], said.nothing) == ("SERVFAIL", 14, True)


def test_strangers_get_no_merged_answer_a_few_refusals_a_second_then_nothing() -> None:
    fleet = Fleet(ALPHA, BRAVO)
    host = fleet[ALPHA]
    host.advertise("web", 80)

    def ask(now: float) -> bytes | None:
        answer = host.octets(question("web SRV", rd=True, use_edns=0), source=STRANGER, now=now)
        assert answer is None or isinstance(answer, bytes)
        return answer

    refused = Said(ask(10.0) or b"")
    assert (refused.rcode, refused.nothing, refused.errors[0][0]) == ("REFUSED", True, 18)
    count = sum(ask(10.0 + n / 1000) is not None for n in range(100))
    assert 1 <= count < 10
    assert ask(11.0) is not None
    assert fleet.asked == []  # nobody is asked for a stranger
    assert host.ask("web SRV", source=STRANGER, now=10.5).rcode == "NOERROR"  # RD=0: this host's own is for all


def test_what_is_kept_for_members_is_not_told_to_strangers() -> None:
    fleet = Fleet(ALPHA, BRAVO)
    fleet[BRAVO].advertise("web", 80)
    for _ in range(3):
        assert len(fleet.ask(ALPHA, "web SRV", tcp=False, source=LOOKER_ON).answer) == 1
    said = fleet.ask(ALPHA, "web SRV", tcp=False, source=STRANGER)
    assert (said.rcode, said.nothing) == ("REFUSED", True)


@given(CASES, st.lists(st.sampled_from([0.0, 0.4, 0.9, 1.3, 2.6, 6.0]), min_size=12, max_size=12).map(sorted))
@settings(deadline=None, max_examples=40)
def test_kept_merged_answers_equal_fresh_ones(
    cases: list[tuple[str, int, bool, int | None, int, bytes, bool, str]], moments: list[float]
) -> None:
    """RD=1, as time goes by: `fresh` forgets every answer before each question."""

    def made() -> Fleet:
        fleet = Fleet(ALPHA, BRAVO, CHARLIE)
        for port in range(1, 6):
            fleet[BRAVO].advertise("web", port, {"number": f"{port}"})
        fleet[CHARLIE].advertise("Web", 9)
        return fleet

    kept, fresh = made(), made()
    for (text, ident, tcp, size, do, cookie, cd, _), now in zip(cases, moments, strict=False):
        edns: dict[str, Any] = {} if size is None else {"use_edns": 0, "payload": size, "ednsflags": do}
        if edns and cookie:
            edns["options"] = [dns.edns.GenericOption(dns.edns.OptionType.make(10), cookie)]
        wire = bytearray(question(text, rd=True, ident=ident, **edns))
        wire[3] |= cd << 4
        for _ in range(2):
            responder = fresh[ALPHA].responder
            for cache in (responder._hot, responder._own, responder._merged):
                cache.clear()
            answer = kept.octets(kept[ALPHA], bytes(wire), tcp=tcp, source=LOOKER_ON, now=now)
            assert answer == fresh.octets(fresh[ALPHA], bytes(wire), tcp=tcp, source=LOOKER_ON, now=now)
            assert answer is not None
            assert Said(answer).message.id == ident


def test_members_are_not_rationed_by_strangers() -> None:
    fleet = Fleet(ALPHA, BRAVO)
    fleet[ALPHA].advertise("web", 80)
    for _ in range(50):
        fleet[ALPHA].octets(question("web SRV", rd=True), source=STRANGER, now=1.0)
    assert fleet.ask(ALPHA, "web SRV", now=1.0, source=BRAVO.addresses[1]).rcode == "NOERROR"


def test_who_may_not_be_a_member_is_a_stranger() -> None:
    shared_in = peer("shared", "100.64.0.50", member=False)
    fleet = Fleet(ALPHA, shared_in)
    assert fleet.ask(ALPHA, "web SRV", source="100.64.0.50").rcode == "REFUSED"


def test_a_merged_answer_over_udp_is_cut_as_any_other() -> None:
    fleet = Fleet(ALPHA, BRAVO)
    for port in range(1, 60):
        fleet[BRAVO].advertise("web", port)
    said = fleet.ask(ALPHA, "web SRV", tcp=False)
    assert (said.nothing, "TC" in said.flags, len(said.wire) <= 1232) == (True, True, True)
    assert len(fleet.ask(ALPHA, "web SRV").answer) == 59


def test_while_peers_are_being_asked_the_answer_waits_for_them() -> None:
    """A question in the midst of a fan-out must not be told NXDOMAIN of what the peers are about to tell."""
    fleet = Fleet(ALPHA, BRAVO)
    host = fleet[ALPHA]
    host.directory.asking(host.directory.due(0.0), 0.0)
    wire = question("web SRV", rd=True)
    assert isinstance(host.octets(wire, source=LOOKER_ON, now=0.0), Ask)


def test_two_nodes_of_one_name_are_told_apart_by_their_addresses() -> None:
    twin = peer("ALPHA", "100.64.0.7")
    fleet = Fleet(ALPHA, twin)
    fleet[ALPHA].advertise("web", 80)
    fleet[twin].advertise("web", 80)
    said = fleet.ask(ALPHA, "web SRV")
    assert said.answer == zone("""
        web 5 IN SRV 10 10 80 100-64-0-1-80.web
        web 5 IN SRV 10 10 80 100-64-0-7-80.web
    """)
    assert {line for line in said.additional if " A " in line} == zone("""
        100-64-0-1-80.web 5 IN A 100.64.0.1
        100-64-0-7-80.web 5 IN A 100.64.0.7
    """)


# Clients


@pytest.mark.parametrize(
    ("address", "tcp", "limit"),
    [
        ("100.64.0.2", False, 1232),
        ("100.64.0.2", True, 65535),
        ("127.8.9.10", False, 65507),
        ("::1", False, 65507),
        ("100.64.0.1", False, 65507),
        ("12.7.0.0", False, 1232),
    ],
)
def test_what_the_way_back_carries(address: str, tcp: bool, limit: int) -> None:
    assert client(address, frozenset(ALPHA.addresses), tcp=tcp).limit == limit


def test_the_default_port_and_apex_are_the_designs() -> None:
    assert (DEFAULT_PORT, str(APEX)) == (28004, "minidisc.")
