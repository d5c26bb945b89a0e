"""resolv.conf as text: what libc reads in it, we read in it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mddns.base.errors import ConfigError
from mddns.files.resolv_conf import MOST_SERVERS, Place, parse_place, read_resolv_conf


@pytest.mark.parametrize(
    ("text", "servers"),
    [
        ("nameserver 192.168.1.1\n", ("192.168.1.1",)),
        ("nameserver\t10.0.0.1   # the router\nnameserver 10.0.0.2", ("10.0.0.1", "10.0.0.2")),
        ("nameserver fd00::1\n", ("fd00::1",)),
        ("nameserver fe80::1%eth0\n", ("fe80::1%eth0",)),
        ("nameserver 10.0.0.1\nnameserver 10.0.0.1\n", ("10.0.0.1",)),
        ("# nameserver 10.0.0.1\n;nameserver 10.0.0.2\nnameserver 10.0.0.3\r\n", ("10.0.0.3",)),
        ("search a.example\ndomain b\nsortlist 1.2.3.4\nlookup file bind\n", ()),
        ("nameserver\nnameservers 10.0.0.1\nNAMESERVER 10.0.0.1\n", ()),
        ("", ()),
    ],
)
def test_servers(text: str, servers: tuple[str, ...]) -> None:
    assert read_resolv_conf(text).servers == tuple(Place(each, 53) for each in servers)


def test_what_is_no_address_is_passed_over_and_said() -> None:
    read = read_resolv_conf("search x\nnameserver router\nnameserver 10.0.0.1\n")
    assert read.servers == (Place("10.0.0.1"),)
    assert read.remarks == ("line 2: 'router' is no address",)


def test_more_servers_than_are_asked_are_said() -> None:
    read = read_resolv_conf("".join(f"nameserver 10.0.0.{n}\n" for n in range(1, 12)))
    assert len(read.servers) == MOST_SERVERS
    assert read.remarks[0] == f"line 9: only the first {MOST_SERVERS} servers are used"


@pytest.mark.parametrize(
    ("text", "timeout", "attempts", "rotate", "use_vc"),
    [
        ("options timeout:1 attempts:3 rotate use-vc edns0 trust-ad\n", 1, 3, True, True),
        ("options timeout:1\noptions timeout:4\n", 4, None, False, False),
        ("options timeout:99 attempts:99\n", 30, 5, False, False),
        ("options timeout:0 attempts:0\n", 1, 1, False, False),
        ("options timeout:x attempts: ndots:2 no-such-option\n", None, None, False, False),
        ("options usevc\n", None, None, False, True),
        ("nameserver 10.0.0.1\n", None, None, False, False),
    ],
)
def test_options(text: str, timeout: int | None, attempts: int | None, rotate: bool, use_vc: bool) -> None:
    read = read_resolv_conf(text)
    assert (read.timeout, read.attempts, read.rotate, read.use_vc) == (timeout, attempts, rotate, use_vc)


@given(st.text(max_size=2000))
def test_nothing_in_a_file_is_an_error(text: str) -> None:
    read_resolv_conf("options " + text + "\nnameserver " + text)


@pytest.mark.parametrize(
    ("text", "place", "shown"),
    [
        ("192.168.1.1", Place("192.168.1.1", 53), "192.168.1.1"),
        ("10.0.0.1#5353", Place("10.0.0.1", 5353), "10.0.0.1#5353"),
        ("fd00::1#5353", Place("fd00::1", 5353), "fd00::1#5353"),
        ("FE80::1%eth0", Place("fe80::1%eth0", 53), "fe80::1%eth0"),
    ],
)
def test_an_upstream_as_people_give_it(text: str, place: Place, shown: str) -> None:
    assert parse_place(text) == place
    assert str(place) == shown


@pytest.mark.parametrize(
    "text", ["", "router", "10.0.0.1:53", "10.0.0.1#", "10.0.0.1#0", "10.0.0.1#65536", "1.2.3.4#²"]
)
def test_an_upstream_that_is_none(text: str) -> None:
    with pytest.raises(ConfigError, match="upstream"):
        parse_place(text)


def test_what_is_loopback() -> None:
    assert [Place(each).is_loopback for each in ("127.0.0.53", "::1", "10.0.0.1", "fe80::1%lo")] == [
        True,
        True,
        False,
        False,
    ]
