"""Minidisc's lists: what is read of them, whatever they hold, and what is written."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from played import ALPHA

from mddns.base.model import Endpoint, Service
from mddns.base.policy import MAX_FROM_PEER
from mddns.base.validation import MAX_LABEL_OCTETS, MAX_SERVICE_LABELS
from mddns.codec.answer import introduce
from mddns.codec.minidisc_json import (
    MOST_OCTETS,
    Listed,
    read_delegate,
    read_response,
    read_services,
    request,
    write_delegate,
    write_services,
)

GOOD = {"name": "web", "labels": {"env": "prod"}, "addrPort": "100.64.0.1:8080"}


def read(*entries: Any) -> Listed:
    return read_services(json.dumps(entries).encode(), ALPHA)


def names(listed: Listed) -> list[str]:
    return [each.name for each in listed.told]


def test_an_entry_is_a_service() -> None:
    listed = read(GOOD)
    service = introduce(listed.told[0], ALPHA, "tailscale")
    assert (service.name, dict(service.labels), service.endpoint, service.remote) == (
        "web",
        {"env": "prod"},
        "100.64.0.1:8080",
        False,
    )
    assert (service.via, service.host, service.since, listed.left_out) == (ALPHA.id, "alpha", None, 0)


def test_an_address_of_another_host_is_marked_remote_and_told_by_who_said_it() -> None:
    service = introduce(read({**GOOD, "addrPort": "100.64.0.9:5432"}).told[0], ALPHA, "tailscale")
    assert (service.remote, service.via, service.addresses) == (True, ALPHA.id, ("100.64.0.9",))


def test_what_python_and_go_write_for_no_labels_is_no_labels() -> None:
    listed = read({**GOOD, "labels": None}, {"name": "db", "addrPort": "100.64.0.1:1"}, {**GOOD, "labels": {}})
    assert [each.attributes.labels for each in listed.told] == [{}, {}, {}]


BAD: list[Any] = [
    None,
    7,
    "web",
    [],
    {},
    {**GOOD, "name": 7},
    {**GOOD, "name": ""},
    {**GOOD, "name": "x" * 63},
    {**GOOD, "name": "localhost"},
    {**GOOD, "name": "_web"},
    {**GOOD, "name": "a\nb"},
    {**GOOD, "name": "\ud800"},
    {**GOOD, "labels": []},
    {**GOOD, "labels": "env=prod"},
    {**GOOD, "addrPort": None},
    {**GOOD, "addrPort": ""},  # Go's zero AddrPort
    {**GOOD, "addrPort": 8080},
    {**GOOD, "addrPort": ":8080"},
    {**GOOD, "addrPort": "100.64.0.1"},
    {**GOOD, "addrPort": "100.64.0.1:0"},
    {**GOOD, "addrPort": "100.64.0.1:70000"},
    {**GOOD, "addrPort": "alpha.tail1234.ts.net:80"},
    {**GOOD, "addrPort": "0.0.0.0:80"},
    {**GOOD, "addrPort": "127.0.0.1:22"},
    {**GOOD, "addrPort": "169.254.169.254:80"},
    {**GOOD, "addrPort": "[fe80::1%eth0]:80"},
    {**GOOD, "addrPort": "224.0.0.1:80"},
]


@pytest.mark.parametrize("bad", BAD, ids=lambda each: json.dumps(each)[:60])
def test_one_bad_entry_is_left_out_and_spoils_no_other(bad: Any) -> None:
    listed = read(GOOD, bad, {**GOOD, "name": "db"})
    assert names(listed) == ["web", "db"]
    assert listed.left_out == 1
    assert listed.why


def test_a_label_that_cannot_be_told_is_left_out_alone() -> None:
    labels = {"env": "prod", "md.since": "1", "a=b": "c", "n": 7, "Env": "test", "long": "x" * 300, "ü": "u", "": "e"}
    listed = read({**GOOD, "labels": labels})
    assert listed.told[0].attributes.labels == {"env": "prod"}
    assert listed.left_out == 7
    assert listed.why.startswith("service 'web': label 'md.since':")


def test_of_too_many_labels_those_that_fit_are_kept() -> None:
    many = read({**GOOD, "labels": {f"k{n}": "" for n in range(100)}}).told[0].attributes.labels
    large = read({**GOOD, "labels": {f"k{n}": "v" * 200 for n in range(100)}}).told[0].attributes.labels
    assert len(many) == MAX_SERVICE_LABELS
    assert 1000 < sum(2 + len(key) + len(value) for key, value in large.items()) <= MAX_LABEL_OCTETS


def test_of_more_than_a_host_may_offer_the_first_are_kept() -> None:
    listed = read(*({**GOOD, "addrPort": f"100.64.0.1:{n}"} for n in range(1, MAX_FROM_PEER + 11)))
    assert len(listed.told) == MAX_FROM_PEER
    assert listed.left_out == 10


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"null",
        b'"web"',
        b"[",
        b"<html>",
        b"\xff\xfe[\0]\0",
        b"[" * 100_000,
        b'[{"a":' * 50_000,
        b"[" + b"1" * 10_000 + b"]",
        b" " * (MOST_OCTETS + 1),
    ],
    ids=lambda body: body[:8].decode("latin-1"),
)
def test_what_is_no_list_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        read_services(body, ALPHA)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)
entries = st.fixed_dictionaries({}, optional={"name": anything, "labels": anything, "addrPort": anything}) | anything


@given(st.lists(entries, max_size=5))
@settings(max_examples=300, deadline=None)
def test_whatever_is_listed_the_good_one_is_read(listed: list[Any]) -> None:
    assert names(read_services(json.dumps([*listed, GOOD]).encode(), ALPHA))[-1] == "web"


def test_garbage_is_a_list_or_a_value_error() -> None:
    draw = random.Random(28004)
    good = bytearray(json.dumps([GOOD] * 3).encode())
    for _ in range(2000):
        body = bytearray(good)
        for _ in range(draw.randrange(1, 6)):
            body[draw.randrange(len(body))] = draw.randrange(256)
        try:
            assert len(read_services(bytes(body), ALPHA).told) <= 3
        except ValueError:
            continue


def service(name: str = "web", endpoint: str = "100.64.0.1:8080", **more: Any) -> Service:
    return Service(name, more.pop("labels", {"env": "prod"}), Endpoint(endpoint), **more)


def test_services_are_written_as_minidisc_writes_them() -> None:
    assert json.loads(write_services([service(), service("db", "[fd7a::1]:5432", labels={})])) == [
        GOOD,
        {"name": "db", "labels": {}, "addrPort": "[fd7a::1]:5432"},
    ]
    assert write_services([]) == b"[]"


def test_one_endpoint_of_both_protocols_is_listed_once() -> None:
    assert len(json.loads(write_services([service(), service(protocol="udp")]))) == 1


def test_no_label_costs_a_reader_the_whole_list() -> None:
    """Octets that were no UTF-8 are lone surrogates in Python, which pydantic refuses and Go replaces."""
    body = write_services([service(labels={"k": b"\xff\xfea".decode("utf-8", "surrogateescape")})])
    json.loads(body)[0]["labels"]["k"].encode()


def test_what_is_written_reads_back() -> None:
    back = read_services(write_services([service(labels={"ä": "ü"} | {"k": "日本"})]), ALPHA)
    assert (names(back), back.told[0].attributes.labels, back.left_out) == (["web"], {"k": "日本"}, 1)


# HTTP, as much of it as a client needs


def test_a_request_asks_for_an_answer_without_chunks() -> None:
    assert request("GET", "/ping", "100.64.0.1:28004").startswith(b"GET /ping HTTP/1.0\r\nHost: 100.64.0.1:28004\r\n")
    post = request("POST", "/add-delegate", "h", b"{}")
    assert post.endswith(b"Content-Length: 2\r\n\r\n{}")


WHOLE = b"HTTP/1.0 200 OK\r\nServer: x\r\nContent-Length: 2\r\n\r\n[]"
UNTIL_END = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n[1]"


def test_a_response_is_read_an_octet_at_a_time() -> None:
    for response, body in ((WHOLE, b"[]"), (UNTIL_END, b"[1]")):
        for size in range(len(response)):
            assert read_response(response[:size], ended=False) is None
        assert read_response(response, ended=True) == (200, body)
    assert read_response(WHOLE, ended=False) == (200, b"[]")
    assert read_response(UNTIL_END, ended=False) is None


@pytest.mark.parametrize(
    ("octets", "ended"),
    [
        (b"\0\x0c", False),
        (b"SSH-2.0-x\r\n", False),
        (b"HTTP/2.0 200 OK\r\n\r\n", True),
        (b"HTTP/1.0 200 OK\r\n", True),
        (b"HTTP/1.0 abc\r\n\r\n", True),
        (WHOLE[:-1], True),
        (b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", True),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 99999999999\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: -1\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nX: " + b"x" * 20_000, False),
        (b"HTTP/1.0 200 OK\r\n\r\n" + b" " * (MOST_OCTETS + 1), False),
    ],
    ids=range(11),
)
def test_what_is_no_response_is_a_value_error(octets: bytes, ended: bool) -> None:
    with pytest.raises(ValueError, match=r".+"):
        read_response(octets, ended=ended)


def test_a_delegate_is_named_and_read_back() -> None:
    assert write_delegate("100.64.0.1", 4711) == b'{"addrPort": "100.64.0.1:4711"}'
    assert read_delegate(write_delegate("100.64.0.1", 4711)) == ("100.64.0.1", 4711)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"addrPort": 7}',
        b'{"addrPort": "a:7"}',
        b'{"addrPort": "1.2.3.4:0"}',
        b'{"addrPort": "0.0.0.0:7"}',
        b"[" * 1000,
        b'{"addrPort": "1.2.3.4:5"}' + b" " * 2000,
        b"\xff",
    ],
)
def test_what_names_no_delegate_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        read_delegate(body)
