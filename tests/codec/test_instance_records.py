"""A service as records and back, one function at a time."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mddns.base.model import Endpoint, Service, replace
from mddns.codec.instance_records import (
    Attributes,
    address_label,
    address_octets,
    address_text,
    instance_label,
    instance_txt,
    labels_txt,
    machine_label,
    read_attributes,
    readable_name,
    shares_machine,
    spoken_protocol,
    srv_octets,
)

WEB = Service("web", {"b": "2", "a": "1"}, Endpoint("100.64.0.1:8080"), since=12, meta=(("md.x", "y"),))


def strings(rdata: bytes) -> list[bytes]:
    found = []
    while rdata:
        found.append(rdata[1 : 1 + rdata[0]])
        rdata = rdata[1 + rdata[0] :]
    return found


def test_labels_are_sorted_one_string_each() -> None:
    assert strings(labels_txt(WEB)) == [b"a=1", b"b=2"]


def test_an_instance_has_our_own_keys_behind_the_labels() -> None:
    assert strings(instance_txt(WEB)) == [b"a=1", b"b=2", b"md.since=12", b"md.x=y"]


def test_no_labels_are_one_empty_string() -> None:
    bare = replace(WEB, labels={}, since=None, meta=())
    assert labels_txt(bare) == instance_txt(bare) == b"\0"


def test_a_label_of_255_octets_is_one_string() -> None:
    assert strings(labels_txt(replace(WEB, labels={"k": "v" * 253}))) == [b"k=" + b"v" * 253]


@pytest.mark.parametrize(
    ("given_strings", "attributes"),
    [
        ([], Attributes({}, None, ())),
        ([b""], Attributes({}, None, ())),
        ([b"a=1", b"b"], Attributes({"a": "1", "b": ""}, None, ())),
        ([b"a=1=2"], Attributes({"a": "1=2"}, None, ())),
        ([b"=x", b"a="], Attributes({"a": ""}, None, ())),
        ([b"a=1", b"A=2", b"a=3"], Attributes({"a": "1"}, None, ())),
        ([b"md.since=5"], Attributes({}, 5, ())),
        ([b"MD.Since=5", b"md.since=6"], Attributes({}, 5, ())),
        ([b"md.since=x"], Attributes({}, None, (("md.since", "x"),))),
        ([b"md.since=-5"], Attributes({}, None, (("md.since", "-5"),))),
        ([b"md.since=" + b"9" * 400], Attributes({}, None, (("md.since", "9" * 400),))),
        (["md.since=٣".encode()], Attributes({}, None, (("md.since", "٣"),))),
        ([b"md.srv=a,B-2,_c,,d."], Attributes({}, None, (), ("a", "B-2"))),
        ([b"md.held=tcp: refused", b"a=1"], Attributes({"a": "1"}, None, (), (), "tcp: refused")),
        ([b"md.new=x", b"a=1"], Attributes({"a": "1"}, None, (("md.new", "x"),))),
        ([b"k=\xff\xfe"], Attributes({"k": "\udcff\udcfe"}, None, ())),
        ([b"\xc3\xa9=1", b"a=1"], Attributes({"a": "1"}, None, ())),
        ([b"a\n=1", b"\x7f", b"a b=2"], Attributes({"a b": "2"}, None, ())),
    ],
)
def test_txt_strings_are_read_as_rfc_6763_has_it(given_strings: list[bytes], attributes: Attributes) -> None:
    assert read_attributes(given_strings) == attributes


keys = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E, exclude_characters="="), min_size=1, max_size=20)


@given(st.dictionaries(keys, st.text(st.characters(codec="utf-8"), max_size=50), max_size=8))
@settings(deadline=None, max_examples=80)
@example({"a": "=", "b": "", "c": "é"})
def test_labels_survive_txt(labels: dict[str, str]) -> None:
    labels = {key: value for key, value in labels.items() if not key.lower().startswith("md.")}
    if len({key.lower() for key in labels}) == len(labels):
        service = replace(WEB, labels=labels)
        assert read_attributes(strings(instance_txt(service))) == Attributes(labels, 12, (("md.x", "y"),))


@given(st.lists(st.binary(max_size=255), max_size=10))
@settings(deadline=None, max_examples=80)
def test_any_strings_can_be_read_and_written_again(given_strings: list[bytes]) -> None:
    labels, since, meta, srv, held = read_attributes(given_strings)
    again = read_attributes(
        strings(instance_txt(replace(WEB, labels=labels, since=since, meta=meta, srv=srv, held=held)))
    )
    assert (again.labels, again.since, again.srv, again.held) == (labels, since, srv, held)


@pytest.mark.parametrize(
    ("host", "label"),
    [
        ("alpha", "alpha"),
        ("Alpha.tail1234.ts.net.", "alpha"),
        ("my box", "my-box"),
        ("-x-", "x"),
        ("日本", ""),
        ("", ""),
        ("...", ""),
        ("a_b", "a-b"),
    ],
)
def test_a_machine_is_its_names_first_label(host: str, label: str) -> None:
    assert machine_label(host) == label


@given(st.text(max_size=80), st.ip_addresses().map(str), st.integers(1, 65535), st.sampled_from(["tcp", "udp"]))
@settings(deadline=None, max_examples=150)
def test_an_instance_label_is_legal_and_tells_its_protocol(host: str, address: str, port: int, protocol: str) -> None:
    label = instance_label(machine_label(host), address, port, protocol)
    assert 0 < len(label) <= 63
    assert set(label) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert not label.startswith("-")
    assert spoken_protocol(label, port) == protocol


def test_long_machines_stay_apart() -> None:
    made = {instance_label("m" * 60 + letter, "1.2.3.4", 80, "tcp") for letter in "abcdef"}
    assert len(made) == 6


@pytest.mark.parametrize(
    ("address", "label"),
    [("100.1.2.3", "100-1-2-3"), ("fd7a::1", "fd7a-0000-0000-0000-0000-0000-0000-0001")],
)
def test_an_address_as_a_label(address: str, label: str) -> None:
    assert address_label(address) == label


@given(st.ip_addresses().map(str))
@settings(deadline=None, max_examples=60)
def test_addresses_survive(address: str) -> None:
    assert address_text(address_octets(address)) is not None
    assert address_octets(address_text(address_octets(address)) or "") == address_octets(address)


@pytest.mark.parametrize("octets", [b"", b"\1", bytes(5), bytes(15), bytes(17)])
def test_other_lengths_are_no_address(octets: bytes) -> None:
    assert address_text(octets) is None


def test_srv_is_priority_weight_port() -> None:
    assert srv_octets(replace(WEB, priority=1, weight=0xFFFF)) == b"\0\1\xff\xff\x1f\x90"


@pytest.mark.parametrize(
    ("label", "name"),
    [(b"web", "web"), (b"W", "W"), ("é".encode(), "é"), (b"\xff", None), (b"_tcp", None), (b"ns", None), (b"", None)],
)
def test_a_dns_label_is_a_service_name_only_if_it_may_be_one(label: bytes, name: str | None) -> None:
    assert readable_name(label) == name


@pytest.mark.parametrize(
    ("name", "others", "shared"),
    [
        ("alpha", [], False),
        ("alpha", ["bravo", "alpha2", ""], False),
        ("alpha", ["bravo", "ALPHA"], True),
        ("alpha.tail1.ts.net.", ["Alpha.tail2.ts.net."], True),
        ("anna's nas", ["anna-s-nas"], True),
        ("日本", ["中国"], True),
    ],
)
def test_names_that_make_one_machine_share_it(name: str, others: list[str], shared: bool) -> None:
    assert shares_machine(name, others) is shared
