"""An offer is judged in one place, whoever makes it."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mddns.base.errors import InvalidService
from mddns.base.offer import Offer, make, parse_address


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (":8080", (None, 8080)),
        ("8080", (None, 8080)),
        (":1", (None, 1)),
        ("65535", (None, 65535)),
        ("100.64.0.9:5432", ("100.64.0.9", 5432)),
        ("[fd7a::9]:5432", ("fd7a::9", 5432)),
        ("[FD7A:0::9]:5432", ("fd7a::9", 5432)),
        ("127.0.0.1:80", ("127.0.0.1", 80)),
    ],
)
def test_an_address_is_a_port_of_ours_or_ip_and_port(text: str, expected: tuple[str | None, int]) -> None:
    assert parse_address(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        ":0",
        "0",
        "65536",
        ":65536",
        "-1",
        "web",
        "web:80",
        "localhost:80",
        "1.2.3.4",
        "1.2.3.4:",
        "1.2.3.4:0",
        "1.2.3.4:65536",
        "fd7a::9:80",
        "fd7a::9",
        "[fd7a::9]",
        "[1.2.3.4]:80",
        " :80",
        "::80",
        "٣",
        "1.2.3.4:٣",
        "0.0.0.0:80",
        "[::]:80",
        "[fe80::1%eth0]:80",
        "x: y:80",
        "a\x1b:80",
    ],
)
def test_any_other_address_is_refused_showing_it_escaped(text: str) -> None:
    with pytest.raises(InvalidService) as caught:
        parse_address(text)
    assert str(caught.value).startswith(("address ", "port "))
    assert str(caught.value).isprintable()


def test_a_refusal_says_how_to_name_this_node() -> None:
    with pytest.raises(InvalidService, match="':8080' is port 8080 at this node's own address"):
        parse_address("localhost:8080")
    with pytest.raises(InvalidService, match="':8080' is port 8080 at this node's own address"):
        parse_address("0.0.0.0:8080")


@given(st.text(max_size=30))
@example("9" * 5000)
@example(":" + "9" * 5000)
@example("1.2.3.4:" + "9" * 5000)
def test_any_text_is_an_address_or_an_invalid_service(text: str) -> None:
    try:
        _, port = parse_address(text)
    except InvalidService:
        return
    assert 0 < port < 65536


def test_what_is_not_said_has_the_defaults() -> None:
    assert make(80, "web") == Offer("web", {}, 80, None, "tcp", 10, 10, (), "")


def test_every_part_is_kept() -> None:
    offer = make(
        80, "web", {"a": "b"}, address="1.2.3.4", protocol="udp", priority=1, weight=2, addresses=["::1"], where="f:1"
    )
    assert offer == Offer("web", {"a": "b"}, 80, "1.2.3.4", "udp", 1, 2, ("::1",), "f:1")


def test_addresses_are_canonical_without_doubles_ipv4_first() -> None:
    assert make(80, "web", addresses=["FD7A::1", "1.2.3.4", "fd7a:0::1"]).addresses == ("1.2.3.4", "fd7a::1")


def test_a_name_is_brought_into_normal_form_c() -> None:
    assert make(80, "cafe\u0301").name == "café"


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"port": 0}, "port 0"),
        ({"port": 65536}, "port 65536"),
        ({"port": "80"}, "port '80'"),
        ({"name": "*"}, "service name '*'"),
        ({"name": "ns"}, "service name 'ns'"),
        ({"name": "a" * 63}, "63 octets"),
        ({"labels": {"a": "v" * 254}}, "256 octets"),
        ({"labels": {"a=b": "c"}}, "label 'a=b'"),
        ({"labels": {"a": "1", "A": "2"}}, "label 'A'"),
        ({"labels": {"md.x": "1"}}, "label 'md.x'"),
        ({"protocol": "sctp"}, "protocol 'sctp'"),
        ({"priority": -1}, "priority -1"),
        ({"weight": 65536}, "weight 65536"),
        ({"address": "web"}, "address 'web'"),
        ({"addresses": ["web"]}, "address 'web'"),
        ({"addresses": [1]}, "address 1"),
        ({"addresses": "1.2.3.4"}, "addresses '1.2.3.4'"),
    ],
)
def test_a_bad_part_is_refused_with_its_value(bad: dict[str, object], said: str) -> None:
    parts: dict[str, object] = {"port": 80, "name": "web"} | bad
    with pytest.raises(InvalidService) as caught:
        make(**parts)  # type: ignore[arg-type]
    assert said in str(caught.value)


def test_an_offer_does_not_change_with_the_labels_it_was_made_of() -> None:
    labels = {"env": "prod"}
    offer = make(80, "web", labels)
    labels["env"] = "dev"
    assert offer.labels == {"env": "prod"}
