"""What a service may be called and may carry; each refusal names the value and the rule."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mddns.base import validation
from mddns.base.errors import InvalidService


@pytest.mark.parametrize(
    "name", ["web", "a", "a" * 62, "é" * 31, "a.b", "my service", "Web-1", "nsx", "leaders", "日本"]
)
def test_a_good_name_stays_as_it_is(name: str) -> None:
    assert validation.normal_name(name) == name


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("", "at least one character"),
        ("a" * 63, "63 octets"),
        ("é" * 32, "64 octets"),
        ("*", "reserved"),
        ("NS", "reserved"),
        ("leader", "reserved"),
        ("wpad", "reserved"),
        ("isatap", "reserved"),
        ("LocalHost", "reserved"),
        ("_web", "must not start with"),
        ("XN--web", "must not start with"),
        ("a\nb", "control characters"),
        ("a\x7f", "control characters"),
        ("é\x85", "control characters"),
        ("a\ud800", "not valid UTF-8"),
    ],
)
def test_a_bad_name_is_refused_with_the_name_and_the_rule(name: str, rule: str) -> None:
    with pytest.raises(InvalidService) as caught:
        validation.normal_name(name)
    assert repr(name) in str(caught.value)
    assert rule in str(caught.value)


def test_a_name_is_brought_into_normal_form_c_before_it_is_counted() -> None:
    assert validation.normal_name("e\u0301" * 31) == "é" * 31


def test_a_name_that_is_judged_as_it_stands_must_be_in_normal_form_c() -> None:
    assert validation.name_problem("e\u0301") == "must be in Unicode normal form C (NFC)"


def test_what_is_no_text_is_no_name() -> None:
    with pytest.raises(InvalidService, match="not int"):
        validation.normal_name(7)  # type: ignore[arg-type]


@given(st.text(max_size=70))
def test_any_text_is_a_name_or_an_invalid_service(name: str) -> None:
    try:
        normal = validation.normal_name(name)
    except InvalidService:
        assert validation.name_problem(unicodedata.normalize("NFC", name)) is not None
    else:
        assert validation.name_problem(normal) is None
        assert len(normal.encode()) <= 62


def test_a_label_of_255_octets_fits_and_of_256_does_not() -> None:
    assert validation.label_problem("env", "é" * 125 + "a") is None
    assert "256 octets" in str(validation.label_problem("env", "é" * 126))


@pytest.mark.parametrize(
    ("key", "rule"),
    [
        ("", "at least one"),
        ("a=b", "'='"),
        ("md.x", "'md.'"),
        ("MD.since", "'md.'"),
        ("é", "printable ASCII"),
        ("a\tb", "printable ASCII"),
    ],
)
def test_a_bad_key_is_refused_with_the_rule(key: str, rule: str) -> None:
    with pytest.raises(InvalidService) as caught:
        validation.check_labels({"good": "1", key: "x"})
    assert repr(key) in str(caught.value)
    assert rule in str(caught.value)


@pytest.mark.parametrize("key", ["a b", "app.kubernetes.io/name", "md", "md-x", "~", "'"])
def test_printable_ascii_makes_a_key(key: str) -> None:
    assert validation.check_labels({key: "=any ✓\n="}) == {key: "=any ✓\n="}


def test_two_keys_that_differ_in_case_are_refused_naming_both() -> None:
    with pytest.raises(InvalidService, match=r"label 'env': 'Env' is the same key in another case"):
        validation.check_labels({"Env": "a", "env": "b"})


def test_64_labels_are_the_most() -> None:
    assert len(validation.check_labels({f"k{i}": "" for i in range(64)})) == 64
    with pytest.raises(InvalidService, match="65 labels"):
        validation.check_labels({f"k{i}": "" for i in range(65)})


def test_1300_octets_are_the_most_for_all_labels_of_a_service() -> None:
    labels = {f"k{i}": "v" * 126 for i in range(10)}  # each 1 + 2 + 1 + 126 octets in the TXT record
    assert validation.check_labels(labels) == labels
    with pytest.raises(InvalidService, match="1303 octets"):
        validation.check_labels(labels | {"l": ""})


@pytest.mark.parametrize(
    ("labels", "offender"), [({"port": 80}, "80 is int"), ({1: "x"}, "1 is int"), ({"a": None}, "None is NoneType")]
)
def test_keys_and_values_are_text(labels: dict[str, str], offender: str) -> None:
    with pytest.raises(InvalidService, match=offender):
        validation.check_labels(labels)


@pytest.mark.parametrize("labels", [[], "a=b", None, [("a", "b")]])
def test_labels_are_a_mapping(labels: dict[str, str]) -> None:
    with pytest.raises(InvalidService, match="a mapping of text to text"):
        validation.check_labels(labels)


def test_checked_labels_are_a_copy() -> None:
    mine = {"env": "prod"}
    checked = validation.check_labels(mine)
    mine["env"] = "dev"
    assert checked == {"env": "prod"}


@pytest.mark.parametrize("port", [1, 65535])
def test_ports_from_1_to_65535_are_good(port: int) -> None:
    assert validation.check_port(port) == port


@pytest.mark.parametrize("port", [0, 65536, -1, True, "80", None, 80.0])
def test_other_ports_are_refused_with_the_value(port: int) -> None:
    with pytest.raises(InvalidService) as caught:
        validation.check_port(port)
    assert repr(port) in str(caught.value)


@pytest.mark.parametrize("value", [-1, 65536, True, "10", None])
def test_priority_and_weight_are_16_bits(value: int) -> None:
    assert [validation.check_16_bits("weight", good) for good in (0, 65535)] == [0, 65535]
    with pytest.raises(InvalidService, match="weight"):
        validation.check_16_bits("weight", value)


@pytest.mark.parametrize("protocol", ["sctp", "TCP", "", None])
def test_the_protocol_is_tcp_or_udp(protocol: str) -> None:
    assert [validation.check_protocol(good) for good in ("tcp", "udp")] == ["tcp", "udp"]
    with pytest.raises(InvalidService, match="'tcp' or 'udp'"):
        validation.check_protocol(protocol)


def test_an_address_is_brought_into_its_canonical_text() -> None:
    assert validation.check_address("FD7A:0:0::1") == "fd7a::1"


@pytest.mark.parametrize(
    "address", ["", "web", "1.2.3", "1.2.3.4.5", "fe80::1%eth0", "0.0.0.0", "::", "224.0.0.251", "ff02::fb", 7, None]
)
def test_what_nobody_can_connect_to_is_no_address(address: str) -> None:
    with pytest.raises(InvalidService) as caught:
        validation.check_address(address)
    assert repr(address) in str(caught.value)


@pytest.mark.parametrize("alias", ["etcd-client", "x", "A1", "a" * 62, "xmpp--client"])
def test_an_alias_is_letters_digits_and_hyphens_between_them(alias: str) -> None:
    assert validation.check_aliases([alias]) == (alias,)


@pytest.mark.parametrize(
    ("alias", "says"),
    [
        ("_etcd-client._tcp", "write it without underscore and protocol, as 'etcd-client'"),
        ("", "1 to 62"),
        ("a" * 63, "1 to 62"),
        ("-a", "letters, digits"),
        ("a-", "letters, digits"),
        ("a.b", "letters, digits"),
        ("a,b", "letters, digits"),
        ("é", "letters, digits"),
        (7, "must be text"),
    ],
)
def test_what_is_no_alias_is_refused(alias: object, says: str) -> None:
    with pytest.raises(InvalidService, match=says):
        validation.check_aliases([alias])  # type: ignore[list-item]


def test_an_alias_counts_once_in_any_case() -> None:
    assert validation.check_aliases(["sip", "SIP"]) == ("sip",)


def test_aliases_fit_one_txt_string() -> None:
    assert len("md.srv=") + validation.MAX_ALIASES_OCTETS <= validation.MAX_SERVICE_LABEL
    with pytest.raises(InvalidService, match="octets together"):
        validation.check_aliases([f"{number}{'a' * 60}" for number in range(5)])
    with pytest.raises(InvalidService, match="at most 16"):
        validation.check_aliases([f"a{number}" for number in range(17)])
    with pytest.raises(InvalidService, match="a list"):
        validation.check_aliases("etcd-client")
