"""Names compare without ASCII case, print as given, and survive presentation format."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mddns.base.errors import FORMERR, BadMessage
from mddns.base.names import ROOT, Name, label_to_text, labels_to_wire, wire_to_labels

labels = st.lists(st.binary(min_size=1, max_size=63), max_size=4).filter(
    lambda each: sum(map(len, each)) + len(each) < 255
)


def test_a_name_is_kept_as_its_wire_format() -> None:
    assert Name.parse("web.minidisc.").wire == b"\x03web\x08minidisc\x00"


def test_names_are_equal_in_any_ascii_case_and_print_as_given() -> None:
    upper, lower = Name.parse("WEB.Minidisc."), Name.parse("web.minidisc.")
    assert upper == lower
    assert hash(upper) == hash(lower)
    assert str(upper) == "WEB.Minidisc."


def test_only_ascii_letters_fold() -> None:
    assert Name.parse("É.") != Name.parse("é.")


def test_a_name_is_no_text() -> None:
    assert Name.parse("web.") != "web."


@given(labels)
@example([b"a.b", b"\\", b'"', b"@", b"$", b";", b"(", b")", b" ", b"\x00", b"\xff", b"\x7f"])
def test_any_labels_survive_presentation_format(given_labels: list[bytes]) -> None:
    name = Name.of(given_labels)
    assert str(name).isascii()
    assert str(name).isprintable()
    assert Name.parse(str(name)).wire == name.wire
    assert name.labels == tuple(given_labels)


@given(labels)
def test_labels_survive_the_wire(given_labels: list[bytes]) -> None:
    assert wire_to_labels(labels_to_wire(given_labels)) == tuple(given_labels)


@pytest.mark.parametrize("label", [b"", b"a" * 64])
def test_a_label_has_1_to_63_octets(label: bytes) -> None:
    with pytest.raises(BadMessage, match="1 to 63"):
        Name.of([b"web", label])


@pytest.mark.parametrize(
    ("label", "text"),
    [
        (b"a.b", r"a\.b"),
        (b"a b", r"a\032b"),
        (b"\x00\xff", r"\000\255"),
        ("é".encode(), r"\195\169"),
        (b"a\\b", r"a\\b"),
    ],
)
def test_a_label_prints_escaped(label: bytes, text: str) -> None:
    assert label_to_text(label) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("web", (b"web", b"minidisc")),
        ("web.", (b"web",)),
        ("web.a", (b"web", b"a", b"minidisc")),
        ("", (b"minidisc",)),
        (".", ()),
        (r"a\.b", (b"a.b", b"minidisc")),
        ("a\\.", (b"a.", b"minidisc")),
        ("a\\\\.", (b"a\\",)),
        (r"\065\b", (b"Ab", b"minidisc")),
        ("é", ("é".encode(), b"minidisc")),
    ],
)
def test_a_text_without_final_dot_hangs_from_the_origin(text: str, expected: tuple[bytes, ...]) -> None:
    assert Name.parse(text, Name.parse("minidisc.")).labels == expected


def test_without_origin_a_text_hangs_from_the_root() -> None:
    assert Name.parse("web") == Name.parse("web.")
    assert Name.parse("") == ROOT


@pytest.mark.parametrize(
    "text", ["..", ".a", "a..b", "a..", "\\", "a\\", r"\256", "a" * 64, ".".join(["a" * 63] * 4), "\ud800"]
)
def test_what_dns_cannot_hold_is_a_bad_message(text: str) -> None:
    with pytest.raises(BadMessage) as caught:
        Name.parse(text)
    assert caught.value.rcode == FORMERR


def test_digits_of_other_scripts_are_no_octet() -> None:
    assert Name.parse("\\١٢٣").labels == ("١٢٣".encode(),)


@pytest.mark.parametrize("good", ["a" * 63, ".".join(["a" * 63] * 3 + ["a" * 61])])
def test_63_octets_a_label_and_255_a_name_are_the_most(good: str) -> None:
    Name.parse(good)
    with pytest.raises(BadMessage, match=r"64 octets|256 octets"):
        Name.parse(good + "a")


@pytest.mark.parametrize(
    ("name", "origin", "expected"),
    [
        ("web.minidisc.", "MINIDISC.", (b"web",)),
        ("a.WEB.minidisc.", "minidisc.", (b"a", b"WEB")),
        ("minidisc.", "minidisc.", ()),
        ("web.", ".", (b"web",)),
        ("xminidisc.", "minidisc.", None),
        ("minidisc.", "web.minidisc.", None),
        ("web.example.", "minidisc.", None),
        # "\008minidisc" ends in the octets of "minidisc." and is one label
        (r"\008minidisc.", "minidisc.", None),
    ],
)
def test_what_stands_before_an_origin(name: str, origin: str, expected: tuple[bytes, ...] | None) -> None:
    assert Name.parse(name).relative_to(Name.parse(origin)) == expected


@given(st.text(max_size=30))
def test_any_text_is_a_name_or_a_bad_message(text: str) -> None:
    try:
        name = Name.parse(text)
    except BadMessage:
        return
    assert Name.parse(str(name)) == name
