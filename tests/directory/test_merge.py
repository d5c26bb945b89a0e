"""What several peers say of one service becomes one service."""

from typing import Any

from mddns.base.model import Endpoint, Service, replace
from mddns.directory.merge import merge


def one(**more: Any) -> Service:
    return replace(Service("web", {}, Endpoint("100.64.0.1:80"), ("100.64.0.1",), via="a", host="x"), **more)


def test_the_own_nodes_word_stands_against_everybody_elses() -> None:
    own, others = one(via="z"), one(via="a", remote=True, labels={"who": "liar"})
    assert merge([own, others]) == merge([others, own]) == [own]


def test_of_two_others_the_first_by_peer_stands() -> None:
    first, second = one(via="a", remote=True), one(via="b", remote=True, labels={"k": "v"})
    assert merge([first, second]) == merge([second, first]) == [first]


def test_different_endpoints_protocols_and_names_are_different_services() -> None:
    several = [one(), one(endpoint=Endpoint("100.64.0.1:81")), one(protocol="udp"), one(name="db")]
    assert merge(several) == several
    assert merge([one(), one(name="WEB")]) == [one()]
