"""Who was silent, said to people and read again by programs."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mddns.directory.silence_text import Silence, read_sentence, sentence


@pytest.mark.parametrize(
    ("names", "asked", "text"),
    [
        (["nas"], 1, "1 of 1 peer was silent: nas"),
        (["nas"], 12, "1 of 12 peers was silent: nas"),
        (["nas", "phone"], 12, "2 of 12 peers were silent: nas, phone"),
        (list("abcdefghij"), 10, "10 of 10 peers were silent: a, b, c, d, e, f, g, h and 2 more"),
    ],
)
def test_the_sentence(names: list[str], asked: int, text: str) -> None:
    assert sentence(names, asked) == text


@given(st.lists(st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1), min_size=1, max_size=30))
@settings(deadline=None, max_examples=60)
def test_it_is_read_as_it_was_written_and_what_it_left_out_is_counted(names: list[str]) -> None:
    found = read_sentence(sentence(names, 99))
    assert found == Silence((*names[:8], *["?"] * (len(names) - 8)), 99)


@pytest.mark.parametrize("text", ["", "nas", "x of 2 peers were silent: a", "2 of 3 dogs were silent: a", "9" * 5000])
def test_other_texts_are_none(text: str) -> None:
    assert read_sentence(text) is None


def test_a_peers_lie_about_millions_stays_small() -> None:
    found = read_sentence("999999 of 999999 peers were silent: a")
    assert found is not None
    assert len(found.names) <= 1000


@given(st.text(max_size=80))
@settings(deadline=None, max_examples=100)
def test_any_text_can_be_read(text: str) -> None:
    read_sentence(text)
    read_sentence("2 of 3 peers were silent: " + text)
