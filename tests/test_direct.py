"""The quick reader means what the slow one means, or leaves the message to it."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from played import ALPHA, APEX, Host, peer, question
from test_wire import mutated

from mddns.answers import Answer, read_answer
from mddns.direct import read_directly
from mddns.errors import BadMessage
from mddns.names import Name
from mddns.wire import Message


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
