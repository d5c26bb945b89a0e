"""Answers that are like one that was read mean the same to the form that they have and to the slow reader."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from played import APEX, Host, peer

from mddns.codec.answer import Answer, introduce
from mddns.codec.answer_template import Form, form_of
from mddns.codec.fast_answer import Reader, read_directly
from tests.codec.test_fast_answer import octets, question_of, slowly


def host(number: int, *, six: bool = False, port: int = 8080, **labels: str) -> Host:
    """A host with one service, whose answer is as long as that of the next one."""
    made = Host(peer(f"host{number}", f"100.64.0.{number}", f"fd7a::{number}"))
    service = made.advertise("web", port, labels or {"env": "prod"})
    made.registry.answers_over_six(service, six, 0)
    return made


def answer_of(made: Host) -> bytes:
    return octets(made, "web SRV", use_edns=0)


def form_read(form: Form, wire: bytes) -> Answer | None:
    own = form.own(wire)
    return None if own is None else form.answer(own)


def learned(wire: bytes) -> Form:
    asked = question_of(wire)
    answer = read_directly(wire, asked)
    assert answer is not None
    form = form_of(wire, 12 + len(asked), answer.told[0])
    assert form is not None
    return form


@pytest.mark.parametrize("six", [False, True])
def test_what_another_host_says_is_read_by_the_form_of_the_first(six: bool) -> None:
    form = learned(answer_of(host(1, six=six)))
    other = answer_of(host(2, six=six, port=8081, env="test"))
    answer = form_read(form, other)
    assert answer is not None
    assert answer == slowly(other)
    assert len(answer.told[0].addresses) == 1 + six
    assert (answer.told[0].port, answer.told[0].attributes.labels) == (8081, {"env": "test"})


def test_nobody_shares_labels_with_another() -> None:
    wire = answer_of(host(1))
    form = learned(wire)
    first, second = form_read(form, wire), form_read(form, wire)
    assert first is not None
    assert second is not None
    first.told[0].attributes.labels["env"] = "changed"
    assert second.told[0].attributes.labels == {"env": "prod"}


def test_whatever_octets_are_others_both_mean_the_same() -> None:
    draw = random.Random(8)
    originals = [
        answer_of(host(1, six=six, **labels)) for six in (False, True) for labels in ({}, {"a": "b", "c": "d"})
    ]
    forms = [learned(each) for each in originals]
    read = 0
    for _ in range(20_000):
        form, original = draw.choice(list(zip(forms, originals, strict=True)))
        wire = bytearray(original)
        for _ in range(draw.randrange(1, 4)):
            at = draw.randrange(len(wire))
            wire[at] = draw.choice((0, 1, 0x2E, 0x30, 0x3F, 0x4D, 0xC0, 0xFF, wire[at] ^ 0x20, draw.randrange(256)))
        answer = form_read(form, bytes(wire))
        if answer is not None:
            assert answer == slowly(bytes(wire)), wire.hex()
            read += 1
    assert read > 2000


strings = st.lists(
    st.one_of(
        st.binary(max_size=8),
        st.sampled_from(
            [b"md.since=1760000000000", b"MD.Since=5", b"md.since", b"env=prod", b"ENV=x", b"=", b"md.srv=a,b"]
        ),
    ),
    max_size=5,
)


def with_text(texts: list[bytes], numbers: bytes = b"\0\1\0\1\0\x50", label: bytes = b"host1-80") -> bytes:
    head = b"\0\7\x84\0\0\1\0\1\0\0\0\2" + b"\3web\x08minidisc\0\0\x21\0\1"
    target = bytes((len(label),)) + label + b"\3web\x08minidisc\0"
    owner = (0xC000 | len(head) + 18).to_bytes(2, "big")
    text = b"".join(bytes((len(each),)) + each for each in texts)
    srv = b"\xc0\x0c\0\x21\0\1\0\0\0\5" + (6 + len(target)).to_bytes(2, "big") + numbers + target
    txt = owner + b"\0\x10\0\1\0\0\0\5" + len(text).to_bytes(2, "big") + text
    return head + srv + txt + owner + b"\0\1\0\1\0\0\0\5\0\4\1\2\3\4"


@given(strings, st.data())
@settings(deadline=None, max_examples=300)
def test_whatever_the_txt_says_both_mean_the_same(texts: list[bytes], data: st.DataObject) -> None:
    """Its octets anew, in as many places as they were: other strings, other keys, other digits."""
    wire = with_text(texts)
    asked = question_of(wire)
    answer = read_directly(wire, asked)
    form = form_of(wire, 12 + len(asked), answer.told[0]) if answer else None
    if form is None:
        return
    assert form_read(form, wire) in (None, slowly(wire))
    begun, end = wire.index(b"\0\x10\0\1") + 10, len(wire) - 16
    for _ in range(20):
        out = bytearray(wire)
        for _ in range(data.draw(st.integers(1, 3))):
            if end > begun:
                out[data.draw(st.integers(begun, end - 1))] = data.draw(st.sampled_from(b"\0\1\2=mMd.s09 \xff"))
        changed = form_read(form, bytes(out))
        assert changed is None or changed == slowly(bytes(out)), out.hex()


def test_the_service_in_a_message_is_the_one_that_its_answer_tells_of() -> None:
    form = learned(answer_of(host(1, six=True)))
    wire = answer_of(host(2, six=True, port=8081, env="test"))
    own = form.own(wire)
    assert own is not None
    for teller in (peer("host2", "100.64.0.2", "fd7a::2"), peer("host3", "100.64.0.3")):
        expected = introduce(form.answer(own).told[0], teller, "net", 1.5)
        assert tuple(form.service(own, teller, "net", 1.5)) == tuple(expected)
    assert expected.remote


def test_a_port_of_0_is_left_to_others() -> None:
    form = learned(with_text([b"a=b"]))
    assert form_read(form, with_text([b"a=b"], b"\0\1\0\1\0\x51")) is not None
    assert form_read(form, with_text([b"a=b"], b"\0\1\0\1\0\0")) is None


def test_a_reader_keeps_so_many_forms_and_no_more() -> None:
    asked = question_of(with_text([]))
    reader = Reader(APEX, asked, by_name=True)
    for length in range(1, 60):
        for kind in range(6):
            label, text = b"x" * length, b"k" * (5 + kind)
            wire = with_text([text], label=label)
            assert reader.read(wire) == slowly(wire)
    assert 32 < sum(map(len, reader._forms.values())) <= 64


def test_of_many_alike_most_are_read_by_form() -> None:
    reader = Reader(APEX, question_of(with_text([])), by_name=True)
    for number in range(100):
        wire = with_text([b"a=b"], label=f"host{number:03}-80".encode())
        assert reader.read(wire) == slowly(wire)
    assert reader._read < 12
