"""tailscaled's LocalAPI as a network: who counts, and what each failure says."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
import random
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bed.tailnet import Node, Tailnet, mullvad, phone, television
from bed.tailscaled import PlayedTailscaled
from places import TESTS

from mddns.base.errors import NetworkError, TailscaleError
from mddns.base.model import Snapshot
from mddns.networks import tailscale
from mddns.networks.tailscale import Tailscale, snapshot, socket_path

RECORDED = TESTS / "data" / "localapi"

Read = Callable[[Tailscale, float], Snapshot]


def blocking(network: Tailscale, timeout: float) -> Snapshot:
    return network.read(timeout)


def in_a_loop(network: Tailscale, timeout: float) -> Snapshot:
    return asyncio.run(network.aread(timeout))


@pytest.fixture(params=[blocking, in_a_loop])
def read(request: pytest.FixtureRequest) -> Read:
    chosen: Read = request.param
    return chosen


@pytest.fixture
def tailnet() -> Tailnet:
    return Tailnet(
        [
            Node("alpha"),
            Node("bravo", online=False),
            Node("charlie", tags=("tag:server",)),
            phone(),
            phone("pixel", os="android"),
            television(),
            mullvad(),
            Node("exit", exit_node_option=True),
            Node("shared", shared_in=True),
            Node("sharee", sharee=True),
            Node("old", expired=True),
            Node("four", families=(4,)),
            Node("six", families=(6,)),
        ]
    )


@pytest.fixture
def daemon(tailnet: Tailnet, tmp_path: Path) -> Iterator[PlayedTailscaled]:
    with PlayedTailscaled(tmp_path / "ts.sock", tailnet, tailnet.nodes[0]) as played:
        yield played


def seen(daemon: PlayedTailscaled, read: Read, timeout: float = 5.0) -> Snapshot:
    return read(Tailscale(28004, str(daemon.path)), timeout)


# Who is there


def test_our_own_node_and_everybody_else_are_seen(daemon: PlayedTailscaled, read: Read) -> None:
    found = seen(daemon, read)
    assert found.me is not None
    assert (found.me.name, found.me.addresses, found.me.port, found.me.owner) == (
        "alpha",
        daemon.me.addresses,
        28004,
        "ada@example.com",
    )
    assert (found.network, found.tun) == ("tailscale", True)
    assert {peer.name for peer in found.peers} == {node.name for node in daemon.tailnet.nodes[1:]}
    assert found == seen(daemon, read)


def test_those_that_run_no_registry_are_not_asked(daemon: PlayedTailscaled, read: Read) -> None:
    asked = {peer.name for peer in seen(daemon, read).peers if peer.asked}
    assert asked == {"bravo", "charlie", "exit", "four", "six"}


def test_the_tailnets_own_nodes_may_ask_phones_too(daemon: PlayedTailscaled, read: Read) -> None:
    members = {peer.name for peer in seen(daemon, read).peers if peer.member}
    assert members == {"bravo", "charlie", "exit", "four", "six", "phone", "pixel", "television"}


def test_online_is_told_and_decides_nothing(daemon: PlayedTailscaled, read: Read) -> None:
    bravo = next(peer for peer in seen(daemon, read).peers if peer.name == "bravo")
    assert (bravo.online, bravo.asked) == (False, True)


def test_a_tagged_node_has_tags_and_no_owner(daemon: PlayedTailscaled, read: Read) -> None:
    charlie = next(peer for peer in seen(daemon, read).peers if peer.name == "charlie")
    assert (charlie.owner, charlie.tags) == (None, ("tag:server",))


def test_addresses_come_ipv4_first_and_one_family_is_enough(daemon: PlayedTailscaled, read: Read) -> None:
    by_name = {peer.name: peer for peer in seen(daemon, read).peers}
    assert [":" in address for address in by_name["bravo"].addresses] == [False, True]
    assert [":" in address for address in by_name["four"].addresses] == [False]
    assert [":" in address for address in by_name["six"].addresses] == [True]


def test_userspace_networking_is_told(daemon: PlayedTailscaled, read: Read) -> None:
    daemon.tailnet.tun = False
    found = seen(daemon, read)
    assert found.tun is False
    assert found.me is not None
    assert found.me.route == ("127.0.0.1",), "there our own registry is"


def test_a_tailnet_of_one_has_no_peers(tmp_path: Path, read: Read) -> None:
    tailnet = Tailnet([Node("alone")])
    with PlayedTailscaled(tmp_path / "ts.sock", tailnet, tailnet.nodes[0]) as daemon:
        assert seen(daemon, read).peers == ()


# What goes wrong


@pytest.mark.parametrize(
    ("mode", "says"),
    [
        ("stopped", r"stopped: run 'tailscale up'"),
        ("needs-login", r"logged out: run 'tailscale up'"),
        ("no-state", r"is starting: try again"),
        ("starting", r"is starting: try again"),
        ("cut", r"sent an incomplete response: try again"),
        ("garbage", r"sent an incomplete response"),
        ("forbidden", r"403: status access denied.*run as root, or 'tailscale set --operator=\$USER'"),
        ("not-found", r"HTTP 404 instead of its status: update Tailscale"),
        ("silent", r"did not answer within 0\.2 s: is it stuck"),
        ("slow", r"did not answer within 0\.2 s"),
    ],
)
def test_each_failure_says_which_and_what_to_do(daemon: PlayedTailscaled, read: Read, mode: str, says: str) -> None:
    daemon.mode = mode
    with pytest.raises(TailscaleError, match=says) as caught:
        seen(daemon, read, timeout=0.2)
    assert isinstance(caught.value, NetworkError | OSError)
    assert caught.value.exit_code == 3


def test_no_socket_says_that_tailscaled_does_not_run(tmp_path: Path, read: Read) -> None:
    with pytest.raises(TailscaleError, match=r"is not running: there is no socket .*TS_SOCKET.*--network static:"):
        read(Tailscale(28004, str(tmp_path / "none.sock")), 1.0)


def test_a_dead_socket_says_that_nobody_answers(daemon: PlayedTailscaled, read: Read) -> None:
    daemon.stop(leave_socket=True)
    with pytest.raises(TailscaleError, match=r"no program listens at its socket .*Start Tailscale"):
        seen(daemon, read)


def test_a_file_that_is_no_socket_is_an_error_too(tmp_path: Path, read: Read) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(TailscaleError, match=r"tailscaled"):
        read(Tailscale(28004, str(tmp_path / "file")), 1.0)
    with pytest.raises(TailscaleError, match=r"tailscaled"):
        read(Tailscale(28004, "/" + "x" * 300), 1.0)


@pytest.mark.parametrize(
    "said", [b"", b"HTTP/1.0 200 OK\r\n", b"\x00\x01", b"SSH-2.0-x\r\n\r\n", b"HTTP/1.0\r\n\r\n{}"]
)
def test_another_program_at_the_socket_is_no_tailscaled(tmp_path: Path, read: Read, said: bytes) -> None:
    from loopback import in_thread

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        listener.settimeout(5)

        def work(stop: Any) -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(said)

        with in_thread(work), pytest.raises(TailscaleError, match="sent an incomplete response, or is not tailscaled"):
            read(Tailscale(28004, str(tmp_path / "s")), 2.0)


def test_dribbling_does_not_outlast_the_timeout(tmp_path: Path, read: Read) -> None:
    from loopback import in_thread

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        listener.settimeout(5)

        def work(stop: Any) -> None:
            connection, _ = listener.accept()
            with connection:
                while not stop.wait(0.01):
                    try:
                        connection.sendall(b"H")
                    except OSError:
                        return

        begun = time.monotonic()
        with in_thread(work), pytest.raises(TailscaleError, match="did not answer within"):
            read(Tailscale(28004, str(tmp_path / "s")), 0.2)
        assert time.monotonic() - begun < 2.0


# Documents that real daemons gave


@pytest.mark.parametrize("name", sorted(path.name for path in RECORDED.glob("status*.json")))
def test_every_recorded_document_is_read_or_says_why_not(name: str) -> None:
    document = json.loads((RECORDED / name).read_text())
    if document["BackendState"] == "Running":
        found = snapshot(document, 28004)
        assert found.me is not None
        assert found.me.addresses[0].startswith("100.64.0.")
        assert len(found.peers) == len(document["Peer"] or {})
    else:
        with pytest.raises(TailscaleError, match=r"Tailscale is|approved"):
            snapshot(document, 28004)


def test_what_the_recorded_tailnet_tells() -> None:
    found = snapshot(json.loads((RECORDED / "status.json").read_text()), 28004)
    assert found.me is not None
    assert (found.me.name, found.me.owner) == ("alpha", "ada@example.com")
    assert sorted(peer.name for peer in found.peers if peer.asked) == ["bravo", "charlie"]
    expired = snapshot(json.loads((RECORDED / "status-one-expired.json").read_text()), 28004)
    assert {peer.name: peer.asked for peer in expired.peers} == {"bravo": True, "charlie": False}
    tagged = snapshot(json.loads((RECORDED / "status-one-tagged.json").read_text()), 28004)
    assert {peer.name: (peer.owner is None, peer.tags) for peer in tagged.peers}["bravo"] == (True, ("tag:server",))
    assert not snapshot(json.loads((RECORDED / "status-userspace.json").read_text()), 28004).tun


def test_a_document_with_anything_missing_or_null_is_read_or_a_tailscale_error() -> None:
    """Whatever the daemon says: nothing else may come out."""
    original = json.loads((RECORDED / "status.json").read_text())
    draw = random.Random(6)
    for _ in range(1500):
        document = copy.deepcopy(original)
        for _ in range(draw.randrange(1, 5)):
            place = document
            while True:
                key = draw.choice(list(place))
                if isinstance(place[key], dict) and place[key] and draw.random() < 0.8:
                    place = place[key]
                    continue
                break
            if draw.random() < 0.3:
                del place[key]
            else:
                place[key] = draw.choice([None, [], {}, "", 0, -1, True, "x", ["x"], [None], {"x": None}, 1.5])
            if not document:
                break
        with contextlib.suppress(TailscaleError):
            assert isinstance(snapshot(document, 28004), Snapshot)


# Where the socket is


def test_ts_socket_says_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TS_SOCKET", "/some/where")
    assert socket_path() == "/some/where"


@pytest.mark.parametrize(
    ("platform", "first"),
    [
        ("linux", "/var/run/tailscale/tailscaled.sock"),
        ("darwin", "/var/run/tailscaled.socket"),
        ("freebsd14", "/var/run/tailscale/tailscaled.sock"),
        ("sunos5", "/var/run/tailscale/tailscaled.sock"),
    ],
)
def test_each_platform_has_its_place(monkeypatch: pytest.MonkeyPatch, platform: str, first: str) -> None:
    monkeypatch.delenv("TS_SOCKET", raising=False)
    monkeypatch.setattr(tailscale.sys, "platform", platform)  # type: ignore[attr-defined]
    monkeypatch.setattr(tailscale.os.path, "exists", lambda path: False)  # type: ignore[attr-defined]
    assert socket_path() == first


def test_the_first_place_that_exists_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TS_SOCKET", raising=False)
    monkeypatch.setattr(tailscale.sys, "platform", "linux")  # type: ignore[attr-defined]
    monkeypatch.setattr(tailscale.os.path, "exists", lambda path: "packages" in path)  # type: ignore[attr-defined]
    assert socket_path() == "/var/packages/Tailscale/var/tailscaled.sock"
