"""The quick reader means what the slow one means, or leaves the message to it."""

from __future__ import annotations

import random
import struct
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from played import ALPHA, APEX, Host, peer, question

from mddns.base.errors import BadMessage
from mddns.base.names import Name
from mddns.codec.answer import Answer, read_answer
from mddns.codec.fast_answer import read_directly
from mddns.dns.message import Message
from tests.dns.test_message import mutated


def octets(host: Host, text: str, **query: object) -> bytes:
    answer = host.octets(question(text, **query), tcp=True)  # type: ignore[arg-type]
    assert isinstance(answer, bytes)
    return answer


def question_of(wire: bytes) -> bytes:
    """The octets of a message's question, which a lookup has compared already."""
    end = wire.find(b"\0", 12) + 1
    return wire[12 : end + 4]


def slowly(wire: bytes) -> Answer | None:
    with suppress(BadMessage):
        return read_answer(Message(wire), APEX)
    return None


def sample() -> Host:
    host = Host(ALPHA)
    for port in range(1, 5):
        six = host.advertise("Web", port, {"env": "prod", "n": f"{port}"}, priority=port)
        host.registry.answers_over_six(six, port % 2 == 0, 0)
    host.advertise("bücher", 53, protocol="udp")
    return host


@pytest.mark.parametrize("text", ["web SRV", "WEB SRV", "b\\195\\188cher SRV"])
@pytest.mark.parametrize("edns", [False, 0])
def test_our_own_answers_are_read_directly_and_mean_the_same(text: str, edns: object) -> None:
    wire = octets(sample(), text, use_edns=edns)
    answer = read_directly(wire, question_of(wire))
    assert answer is not None
    assert answer == slowly(wire)
    assert len(answer.told) == (1 if "cher" in text else 4)


@pytest.mark.parametrize("text", ["nope SRV", "web TXT", "_list PTR", "_web._tcp SRV", "alpha-1.web SRV", "@ SOA"])
def test_other_answers_are_left_to_the_slow_one(text: str) -> None:
    wire = octets(sample(), text, use_edns=0)
    assert read_directly(wire, question_of(wire)) is None


def test_an_answer_of_dnspythons_make_is_left_to_the_slow_one_or_means_the_same() -> None:
    import dns.message

    wire = dns.message.from_wire(octets(sample(), "web SRV", use_edns=0)).to_wire()
    answer = read_directly(wire, question_of(wire))
    assert answer is None or answer == slowly(wire)
    assert slowly(wire)


def test_whatever_is_changed_in_an_answer_both_mean_the_same() -> None:
    draw = random.Random(3)
    originals = [octets(sample(), text, use_edns=edns) for text in ("web SRV", "WeB SRV") for edns in (False, 0)]
    read = 0
    for _ in range(20_000):
        original = draw.choice(originals)
        wire = mutated(draw, original)
        # What a lookup hands over: at least a header, and the question that was asked.
        wire = original[:2] + wire[2:12] + question_of(original) + wire[12 + len(question_of(original)) :]
        if len(wire) < 12:
            continue
        answer = read_directly(wire, question_of(original))
        if answer is not None:
            assert answer == slowly(wire), wire.hex()
            read += 1
    assert read > 300


names = st.sampled_from(["web", "Web", "a.b", "bücher", "x" * 62])
values = st.text(st.characters(codec="utf-8"), max_size=20)


@given(names, st.lists(st.tuples(st.integers(1, 65535), values, st.booleans()), min_size=1, max_size=6))
@settings(deadline=None, max_examples=60)
def test_any_answer_of_ours_means_the_same_to_both(name: str, offers: list[tuple[int, str, bool]]) -> None:
    host = Host(peer("alpha", "100.64.0.1", "fd7a::1"))
    for port, value, six in offers:
        host.registry.answers_over_six(host.advertise(name, port, {"k": value}), six, 0)
    escaped = "".join(f"\\{octet:03d}" for octet in name.encode())
    wire = octets(host, f"{escaped} SRV", use_edns=0)
    answer = read_directly(wire, question_of(wire))
    assert answer is not None
    assert answer == read_answer(Message(wire), Name.parse("minidisc."))


# Messages that nobody of ours would send


def assembled(draw: random.Random) -> bytes:
    """An answer of records that belong together or not: doubled, in any order, of other classes, types and lengths."""
    out = bytearray(12) + b"\x03web\x08minidisc\0\0\x21\0\1"
    targets, answers = [], draw.randrange(1, 4)

    def record(owner: bytes, rtype: int, rdata: bytes) -> None:
        rclass = 1 if draw.random() < 0.99 else 3
        out.extend(owner + struct.pack("!2HIH", rtype, rclass, 5, len(rdata)) + rdata)

    for _ in range(answers):
        targets.append(0xC000 | len(out) + 12 + 6)
        label = draw.choice((b"a", b"a", b"b", b"b", b"c", b"c", b"A", b"d-1-udp", b"\xff", b"x" * 63))
        name = draw.choice((b"\x03web", b"\x03web", b"\x03web", b"\x03wEb", b"\x02db")) + b"\x08minidisc\0"
        port = draw.choice((80, 80, 80, 0))
        record(b"\xc0\x0c", 33, struct.pack("!3H", draw.randrange(3), 1, port) + bytes((len(label),)) + label + name)
    rest = [(target, kind) for target in targets for kind in ("TXT", "A", *(["AAAA"] if draw.random() < 0.3 else []))]
    rest += [draw.choice(rest) for _ in range(draw.choice((0, 0, 0, 1)))]
    draw.shuffle(rest)
    for target, kind in rest:
        if draw.random() < 0.03:
            continue
        owner = target.to_bytes(2, "big")
        if kind == "TXT":
            record(owner, 16, draw.choice((b"", b"\0", b"\1k", b"\3k=v\3K=w", b"\3\xc3\xa9=\4md.x", b"\2k")))
        elif kind == "A":
            record(owner, 1, draw.choice((b"\1\2\3\4", b"\1\2\3\5", b"\1\2\3\4", b"\1\2\3")))
        else:
            record(owner, 28, bytes(15) + bytes((draw.randrange(3),)))
    opt = draw.random() < 0.5
    if opt:
        out += b"\0\0\x29\4\xd0" + draw.choice((b"\0", b"\0", b"\0", b"\1")) + b"\0\0\0\0\0"
    struct.pack_into("!6H", out, 0, 7, 0x8400, 1, answers, 0, len(rest) + opt - draw.choice((0, 0, 0, 0, 1)))
    return bytes(out)


def test_whatever_records_an_answer_has_both_mean_the_same() -> None:
    draw = random.Random(5)
    read = 0
    for _ in range(20_000):
        wire = assembled(draw)
        answer = read_directly(wire, question_of(wire))
        if answer is not None:
            assert answer == slowly(wire), wire.hex()
            read += 1
    assert read > 300


def test_one_target_named_twice_is_one_service() -> None:
    def srv(weight: int) -> bytes:
        return b"\xc0\x0c\0\x21\0\1\0\0\0\5\0\x16" + bytes((0, 1, 0, weight, 0, 80)) + b"\1a\3web\x08minidisc\0"

    def beside(at: int) -> bytes:
        owner = (0xC000 | at).to_bytes(2, "big")
        return owner + b"\0\x10\0\1\0\0\0\5\0\1\0" + owner + b"\0\1\0\1\0\0\0\5\0\4\1\2\3\4"

    begun = b"\0\7\x84\0\0\1\0\2\0\0\0\4" + b"\3web\x08minidisc\0\0\x21\0\1"
    first, second = len(begun) + 18, len(begun) + len(srv(0)) + 18
    wire = begun + srv(1) + srv(2) + beside(first) + beside(second)
    whole = slowly(wire)
    assert whole is not None
    assert len(whole.told) == 1
    assert read_directly(wire, question_of(wire)) is None


def test_ipv4_counts_before_ipv6_wherever_it_stands() -> None:
    host = Host(ALPHA)
    host.registry.answers_over_six(host.advertise("web", 80), True, 0)
    wire = octets(host, "web SRV")
    four, six = wire[-16 - 28 : -28], wire[-28:]
    turned = wire[:-44] + six + four
    for each in (wire, turned):
        answer = slowly(each)
        assert answer is not None
        assert answer.told[0].addresses == ("100.64.0.1", "fd7a::1")
        assert read_directly(each, question_of(each)) in (None, answer)


@given(
    st.sampled_from(["web SRV", "WeB SRV"]),
    st.sampled_from([False, 0]),
    st.lists(st.tuples(st.integers(0, 400), st.binary(max_size=3), st.integers(0, 4)), max_size=4),
)
@settings(deadline=None, max_examples=400)
def test_any_answer_with_any_octets_changed_means_the_same_to_both(
    text: str, edns: object, changes: list[tuple[int, bytes, int]]
) -> None:
    original = octets(sample(), text, use_edns=edns)
    out = bytearray(original)
    for at, new, gone in changes:
        out[at : at + gone] = new
    asked = question_of(original)
    wire = original[:2] + bytes(out[2:12]).ljust(10, b"\0") + asked + bytes(out[12 + len(asked) :])
    answer = read_directly(wire, asked)
    assert answer is None or answer == slowly(wire)


def test_a_target_that_would_be_too_long_for_dns_is_left_to_the_slow_one() -> None:
    name = b"\x3e" + b"n" * 62 + b"\x3f" + b"a" * 63 + b"\x3f" + b"b" * 63 + b"\0"
    target = b"\x3f" + b"i" * 63 + name
    assert (len(name), len(target)) == (192, 256)
    wire = b"\0\7\x84\0\0\1\0\1\0\0\0\2" + name + b"\0\x21\0\1"
    owner = (0xC000 | len(wire) + 18).to_bytes(2, "big")
    wire += b"\xc0\x0c\0\x21\0\1\0\0\0\5" + (6 + len(target)).to_bytes(2, "big") + b"\0\1\0\1\0\x50" + target
    wire += owner + b"\0\x10\0\1\0\0\0\5\0\1\0" + owner + b"\0\1\0\1\0\0\0\5\0\4\1\2\3\4"
    assert slowly(wire) is None
    assert read_directly(wire, question_of(wire)) is None
