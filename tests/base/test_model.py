"""Services, endpoints and peers as programs see them."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mddns.base.model import (
    Endpoint,
    Peer,
    Service,
    Services,
    Snapshot,
    fold,
    join_address,
    order_addresses,
    replace,
    split_address,
)

WEB = Service("web", {"env": "prod", "region": "eu"}, Endpoint("100.64.0.2:8080"), ("100.64.0.2",))


@pytest.mark.parametrize(
    ("text", "address", "port"),
    [("100.64.0.2:8080", "100.64.0.2", 8080), ("[fd7a::2]:80", "fd7a::2", 80), ("1.2.3.4:65535", "1.2.3.4", 65535)],
)
def test_an_endpoint_is_a_text_with_address_and_port(text: str, address: str, port: int) -> None:
    endpoint = Endpoint(text)
    assert isinstance(endpoint, str)
    assert endpoint == text
    assert (endpoint.address, endpoint.port) == (address, port)


def test_an_endpoint_is_canonical() -> None:
    assert Endpoint("[FD7A:0:0::2]:0080") == "[fd7a::2]:80"


@pytest.mark.parametrize("again", [pickle.dumps, copy.copy, copy.deepcopy, Endpoint])
def test_an_endpoint_survives_being_copied(again) -> None:  # type: ignore[no-untyped-def]
    copied = again(Endpoint("[fd7a::2]:80"))
    copied = pickle.loads(copied) if isinstance(copied, bytes) else copied
    assert (copied, copied.address, copied.port) == ("[fd7a::2]:80", "fd7a::2", 80)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1.2.3.4",
        "1.2.3.4:0",
        "1.2.3.4:65536",
        "1.2.3.4:x",
        "1.2.3.4:-1",
        "fd7a::2:80",
        "[1.2.3.4]:80",
        "[fd7a::2:80",
        "fd7a::2]:80",
        "web:80",
        ":80",
        "1.2.3.4:" + "9" * 5000,
        "1.2.3.4:٣",
    ],
)
def test_what_is_no_endpoint_is_a_value_error_that_shows_it(text: str) -> None:
    with pytest.raises(ValueError, match="is no ip:port") as caught:
        Endpoint(text)
    assert repr(text) in str(caught.value)


@given(st.ip_addresses().map(str), st.integers(1, 65535))
def test_address_and_port_survive_being_joined(address: str, port: int) -> None:
    assert split_address(join_address(address, port)) == (address, port)


@pytest.mark.parametrize(
    ("name", "labels", "expected"),
    [
        (None, None, True),
        ("web", {}, True),
        ("WEB", {"env": "prod"}, True),
        ("web", {"env": "prod", "region": "eu"}, True),
        ("db", None, False),
        ("web", {"env": "Prod"}, False),
        ("web", {"Env": "prod"}, False),
        ("web", {"env": "prod", "more": ""}, False),
        (None, {"region": "eu"}, True),
        ("\ud800", None, False),
    ],
)
def test_a_service_matches_its_name_in_any_case_and_its_labels_exactly(
    name: str | None, labels: dict[str, str] | None, expected: bool
) -> None:
    assert WEB.matches(name, labels) is expected
    assert replace(WEB, name="Web").matches(name, labels) is expected


def test_a_service_is_this_one_by_name_endpoint_and_protocol() -> None:
    assert replace(WEB, name="WEB", labels={}).key == WEB.key
    for other in (replace(WEB, name="db"), replace(WEB, endpoint=Endpoint("1.2.3.4:1")), replace(WEB, protocol="udp")):
        assert other.key != WEB.key


def test_services_can_be_kept_in_a_set() -> None:
    assert len({WEB, replace(WEB), replace(WEB, protocol="udp")}) == 2


def test_the_time_that_an_answer_took_makes_no_other_service() -> None:
    assert replace(WEB, rtt_ms=1.0) == WEB
    assert replace(WEB, labels={}) != WEB


def test_a_service_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        WEB.name = "db"  # type: ignore[misc]


def test_a_service_in_json_has_the_keys_of_the_design_and_null_for_what_is_unknown() -> None:
    assert WEB.to_json() == {
        "name": "web",
        "labels": {"env": "prod", "region": "eu"},
        "addrPort": "100.64.0.2:8080",
        "addresses": ["100.64.0.2"],
        "protocol": "tcp",
        "priority": 10,
        "weight": 10,
        "host": None,
        "owner": None,
        "tags": [],
        "via": None,
        "network": None,
        "remote": False,
        "since": None,
        "rttMs": None,
    }


def test_services_are_a_list_that_says_who_was_silent() -> None:
    found = Services([WEB], silent=["nas"], asked=2)
    assert found == [WEB]
    assert (found.silent, found.complete, found.asked) == (("nas",), False, 2)
    assert Services().complete


def test_a_peer_is_shown_by_name_or_address_and_known_by_its_endpoint() -> None:
    peer = Peer("alpha", ("fd7a::1", "100.64.0.1"))
    assert (peer.shown, peer.id) == ("alpha", "[fd7a::1]:28004")
    assert Peer("", ("100.64.0.1",), 53).shown == "100.64.0.1"


def test_a_snapshot_names_our_own_node_first() -> None:
    me, other = Peer("me", ("100.64.0.1",)), Peer("other", ("100.64.0.2",))
    assert list(Snapshot(me, (other,)).everyone()) == [me, other]


@pytest.mark.parametrize(
    ("text", "folded"),
    [("Web-1", "web-1"), ("ÉA", "Éa"), ("\u212a", "\u212a"), ("\udcffA", "\udcffa")],
)
def test_only_ascii_letters_fold(text: str, folded: str) -> None:
    assert fold(text) == folded


def test_folding_takes_text_that_is_no_utf_8() -> None:
    assert fold("\ud800A") == "\ud800a"


@given(st.text(st.characters()))
def test_folding_any_text_keeps_its_length_and_folding_again_changes_nothing(text: str) -> None:
    assert len(fold(text)) == len(text)
    assert fold(fold(text)) == fold(text)


def test_addresses_are_ordered_ipv4_first_and_otherwise_as_given() -> None:
    assert order_addresses(["fd7a::2", "1.2.3.5", "FD7A::1", "1.2.3.4", "fd7a:0::2"]) == (
        "1.2.3.5",
        "1.2.3.4",
        "fd7a::2",
        "fd7a::1",
    )
