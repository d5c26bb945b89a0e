"""Answers that are ready before anybody is called: for whom, for how long, how many."""

from __future__ import annotations

import math
import random

import pytest
from played import ready_answer

from mddns.responder.hot_answers import Hot

WIRE = b"\x12\x67" + b"question" + b"cookie:8"
ANSWER = b"\0\0" + b"answer"
ALPHA, BRAVO = "100.64.0.1", "100.64.0.2"


def kept(*, cookie: bool = False, until: float = 10.0) -> Hot:
    hot = Hot(50, 5000)
    hot.at(1, 0.0)
    hot.admit(ALPHA, "near")
    hot.put("near", WIRE, cookie, ANSWER, {}, until)
    return hot


def test_the_same_octets_with_another_id_are_answered_with_that_id() -> None:
    assert ready_answer(kept().at(1, 0.0), b"\xab\xcd" + WIRE[2:], ALPHA) == b"\xab\xcdanswer"


def test_a_question_without_a_cookie_has_to_be_the_same_to_the_last_octet() -> None:
    assert ready_answer(kept().at(1, 0.0), WIRE[:-8] + b"another8", ALPHA) is None


def test_a_question_with_a_cookie_may_have_another_cookie_but_not_none() -> None:
    hot = kept(cookie=True).at(1, 0.0)
    assert ready_answer(hot, WIRE[:-8] + b"another8", ALPHA) == b"\x12\x67answer"
    assert ready_answer(hot, WIRE[:-8], ALPHA) is None
    assert ready_answer(hot, WIRE + b"another8", ALPHA) is None


def test_nobody_else_is_answered() -> None:
    hot = kept()
    assert ready_answer(hot.at(1, 0.0), WIRE, BRAVO) is None
    hot.admit(BRAVO, "far")
    assert ready_answer(hot.at(1, 0.0), WIRE, BRAVO) is None
    hot.admit(BRAVO, "near")
    assert ready_answer(hot.at(1, 0.0), WIRE, BRAVO) is not None


def test_forgotten_clients_are_answered_again_when_they_are_admitted_again() -> None:
    hot = kept()
    hot.forget_clients()
    assert ready_answer(hot.at(1, 0.0), WIRE, ALPHA) is None
    hot.admit(ALPHA, "near")
    assert ready_answer(hot.at(1, 0.0), WIRE, ALPHA) is not None


def test_an_answer_holds_for_its_epoch_and_its_time() -> None:
    assert ready_answer(kept().at(1, 9.9), WIRE, ALPHA) is not None
    assert ready_answer(kept().at(1, 10.0), WIRE, ALPHA) is None
    assert ready_answer(kept().at(2, 0.0), WIRE, ALPHA) is None


def test_the_first_answer_that_ends_takes_the_others_with_it() -> None:
    hot = kept()
    hot.put("near", WIRE + b"?", False, ANSWER, {}, 5.0)
    assert ready_answer(hot.at(1, 5.0), WIRE, ALPHA) is None


def test_neither_answers_nor_octets_nor_clients_grow_beyond_the_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step looks at every client, so that fewer clients are let in than usual."""
    monkeypatch.setattr("mddns.responder.hot_answers._MOST_CLIENTS", 1_000)
    hot, draw, most = Hot(50, 5000), random.Random(4), 0
    for number in range(5_000):
        hot.admit(str(number), number % 3)
        hot.put(number % 3, number.to_bytes(4, "big"), bool(number % 2), bytes(draw.randrange(2000)), {}, math.inf)
        clients = hot.at(None, 0.0)
        kinds = {id(kept): kept for kept in clients.values()}.values()
        entries = [entry for pair in kinds for group in pair for entry in group.items()]
        assert len(entries) <= 50
        assert sum(len(key) + len(answer) for key, (answer, _) in entries) <= 5000
        most = max(most, len(clients))
    assert most == 1_000
