"""Who has a port, as Linux tells it."""

from __future__ import annotations

import os
import socket
import sys

import pytest
from loopback import address, free_port

from mddns.system.port_owner import Held, held, who_has

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is Linux's")


def test_a_udp_socket_is_found_with_its_address_pid_and_name() -> None:
    where, port = address(), free_port()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mine:
        mine.bind((where, port))
        (found,) = held("udp", port) or ()
        assert (found.address, [pid for pid, _ in found.owners]) == (where, [os.getpid()])
        assert f"(pid {os.getpid()}, " in who_has("UDP", where, port)
        assert who_has("UDP", address(), port) == ""
        assert who_has("TCP", where, port) == ""


def test_a_tcp_socket_counts_while_it_listens() -> None:
    where = address()
    with socket.socket() as mine:
        mine.bind((where, 0))
        port = mine.getsockname()[1]
        assert held("tcp", port) == []
        mine.listen()
        with socket.create_connection((where, port)):
            assert [each.address for each in held("tcp", port) or ()] == [where]


def test_ipv6_is_read_too() -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as mine:
        mine.bind(("::1", 0))
        assert [each.address for each in held("udp", mine.getsockname()[1]) or ()] == ["::1"]


def test_nobody_has_a_port_that_is_free() -> None:
    assert held("udp", free_port()) == []


@pytest.mark.parametrize(
    ("bound", "asked", "at"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("0.0.0.0", "127.0.0.2", True),
        ("0.0.0.0", "::1", False),
        ("::", "::1", True),
        ("::", "127.0.0.1", True),
    ],
)
def test_all_addresses_are_each_of_them(bound: str, asked: str, at: bool) -> None:
    assert Held(bound, ()).is_at(asked) == at
