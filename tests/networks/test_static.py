"""Networks that somebody wrote down."""

from __future__ import annotations

import asyncio
import socket
import threading
from pathlib import Path

import pytest

from mddns.base.errors import ConfigError, NetworkError
from mddns.base.model import Snapshot
from mddns.networks import open_network
from mddns.networks.own_machine import address_towards, host_name, is_own
from mddns.networks.static import Static


def read(text: str, port: int = 28004) -> Snapshot:
    network = Static(text, port)
    found = network.read(1.0)
    assert asyncio.run(network.aread(1.0)) == found
    return found


def everyone(found: Snapshot) -> list[tuple[str, str, int]]:
    return [(each.name, each.addresses[0], each.port) for each in found.everyone()]


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ("203.0.113.1", ("", "203.0.113.1", 28004)),
        ("203.0.113.1:53", ("", "203.0.113.1", 53)),
        ("alpha=203.0.113.1", ("alpha", "203.0.113.1", 28004)),
        ("alpha=203.0.113.1:53", ("alpha", "203.0.113.1", 53)),
        ("fd7a::1", ("", "fd7a::1", 28004)),
        ("[FD7A::1]", ("", "fd7a::1", 28004)),
        ("a=[fd7a:0::1]:53", ("a", "fd7a::1", 53)),
    ],
)
def test_an_item_is_an_address_with_or_without_name_and_port(item: str, expected: tuple[str, str, int]) -> None:
    found = read(item)
    assert (found.me, everyone(found)) == (None, [expected])
    assert found.network == "static"


def test_our_own_node_is_the_first_that_is_this_machines() -> None:
    found = read("203.0.113.1,x=127.0.0.1,127.0.0.2")
    assert found.me is not None
    assert (found.me.name, found.me.addresses) == ("x", ("127.0.0.1",))
    assert [peer.addresses[0] for peer in found.peers] == ["203.0.113.1", "127.0.0.2"]


def test_our_own_node_without_a_name_is_called_as_this_machine() -> None:
    found = read("127.0.0.1")
    assert found.me is not None
    assert found.me.name == host_name() == socket.gethostname().partition(".")[0]


def test_doubles_are_one() -> None:
    assert len(everyone(read("203.0.113.1,b=203.0.113.1, 203.0.113.1:53"))) == 2


def test_a_block_is_all_of_its_hosts() -> None:
    found = read("203.0.113.0/29")
    assert [address for _, address, _ in everyone(found)] == [f"203.0.113.{n}" for n in range(1, 7)]
    assert len(everyone(read("fd7a::/125"))) == 7
    assert [address for _, address, _ in everyone(read("203.0.113.9/32"))] == ["203.0.113.9"]
    assert [address for _, address, _ in everyone(read("255.255.255.255/32"))] == ["255.255.255.255"]


def test_in_a_block_our_own_node_is_where_packets_would_leave_from() -> None:
    found = read("127.0.0.0/28")
    assert found.me is not None
    assert found.me.addresses == ("127.0.0.1",)
    assert len(found.peers) == 13


def test_files_hold_an_item_a_line_and_are_read_anew_each_time(tmp_path: Path) -> None:
    path = tmp_path / "nodes"
    path.write_text("# ours\nalpha=203.0.113.1 # first\n\n203.0.113.4/31\n")
    network = Static(f"file:{path}", 28004)
    assert [address for _, address, _ in everyone(network.read(1.0))] == ["203.0.113.1", "203.0.113.4", "203.0.113.5"]
    path.write_text("203.0.113.9\n")
    assert [address for _, address, _ in everyone(network.read(1.0))] == ["203.0.113.9"]


def test_a_fault_in_a_file_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "nodes"
    path.write_text("203.0.113.1\nnonsense\n")
    with pytest.raises(ConfigError, match=rf"{path}:2: 'nonsense' must be an address"):
        Static(f"file:{path}", 28004).read(1.0)


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_file_that_cannot_be_read_is_an_error_that_names_it(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "nodes"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(NetworkError, match=f"file:{path}"):
        Static(f"file:{path}", 28004).read(1.0)


def test_a_name_is_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "socket.getaddrinfo", lambda *args, **more: [(0, 0, 0, "", ("203.0.113.1", 1)), (0, 0, 0, "", ("fd7a::1", 1))]
    )
    assert everyone(read("dns:nodes.example", 53)) == [("", "203.0.113.1", 53), ("", "fd7a::1", 53)]


def test_a_name_that_does_not_resolve_is_an_error_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **more: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", refuse)
    with pytest.raises(NetworkError, match=r"dns:nodes\.example: Name or service not known"):
        Static("dns:nodes.example", 28004).read(1.0)


def test_reading_in_a_loop_leaves_no_thread(tmp_path: Path) -> None:
    (tmp_path / "nodes").write_text("203.0.113.1\n")
    before = threading.active_count()
    asyncio.run(Static(f"file:{tmp_path / 'nodes'}", 28004).aread(1.0))
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "name its nodes"),
        (",", "name its nodes"),
        ("nonsense", "'nonsense' must be an address"),
        ("203.0.113.1:0", "port '0'"),
        ("203.0.113.1:65536", "port '65536'"),
        ("203.0.113.1:" + "9" * 5000, "must be a number from 1 to 65535"),
        ("203.0.113.1:x", "port 'x'"),
        ("[fd7a::1", "must be an address"),
        ("[fd7a::1]53", "must be an address"),
        ("[fd7a::1]:", "port ''"),
        ("=203.0.113.1", "there is no name before"),
        ("203.0.113.0/33", "must be a CIDR block"),
        ("/", "must be a CIDR block"),
        ("10.0.0.0/8", "16777216 addresses; at most 4096"),
        ("fd7a::/64", "at most 4096"),
    ],
)
def test_what_cannot_be_meant_is_said_at_once(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Static(text, 28004).read(1.0)


# Which is which


def test_specs_choose_the_network() -> None:
    from mddns.networks.joined import Joined
    from mddns.networks.tailscale import Tailscale

    assert isinstance(open_network(), Tailscale)
    assert isinstance(open_network(["tailscale"]), Tailscale)
    assert isinstance(open_network(["static:203.0.113.1"]), Static)
    assert isinstance(open_network(["static:203.0.113.1", "tailscale"]), Joined)
    assert isinstance(open_network(["tailscale"], address="100.64.0.1"), Joined)


@pytest.mark.parametrize("spec", ["tailscale:x", "wireguard", "static", ""])
def test_an_unknown_spec_says_what_there_is(spec: str) -> None:
    with pytest.raises(ConfigError, match="static:"):
        open_network([spec])


# This machine


def test_own_addresses_are_those_that_can_be_bound() -> None:
    assert is_own("127.0.0.1")
    assert is_own("127.1.2.3")
    assert not is_own("203.0.113.1")
    assert not is_own("2001:db8::1")


def test_the_address_towards_somewhere_is_ours() -> None:
    found = address_towards("127.0.0.9")
    assert found is not None
    assert is_own(found)


def test_a_file_of_nodes_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "nodes"
    path.write_text("\ufeffalpha=203.0.113.1\nbravo=203.0.113.2\n", "utf-8")
    assert [each[0] for each in everyone(Static(f"file:{path}", 28004).read(1.0))] == ["alpha", "bravo"]
