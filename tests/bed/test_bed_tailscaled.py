"""The simulated tailscaled answers and fails as the real one does."""

from __future__ import annotations

import gc
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bed.tailnet import Node, Tailnet, mullvad, phone, television
from bed.tailscaled import HOST, PlayedTailscaled, get

SILENCE = 0.3  # seconds without a response that count as silence: a response takes about a millisecond


@pytest.fixture
def tailnet() -> Tailnet:
    return Tailnet([Node("alpha"), Node("bravo", online=False)])


@pytest.fixture
def daemon(tailnet: Tailnet, tmp_path: Path) -> Iterator[PlayedTailscaled]:
    with PlayedTailscaled(tmp_path / "ts.sock", tailnet, tailnet.nodes[0]) as played:
        yield played


def status(path: Path) -> Any:
    return json.loads(get(path, "/localapi/v0/status")[2])


def raw(path: Path, request: bytes, until: bytes | None = None) -> bytes:
    """All data until the daemon closes, or until these octets have come."""
    told = b""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(str(path))
        client.sendall(request)
        while (until is None or until not in told) and (more := client.recv(65536)):
            told += more
    return told


# How it speaks


def test_a_short_reply_has_a_length_and_a_long_one_is_chunked(daemon: PlayedTailscaled) -> None:
    assert "content-length" in get(daemon.path, "/localapi/v0/nothing")[1]
    assert get(daemon.path, "/localapi/v0/status")[1]["transfer-encoding"] == "chunked"


def test_every_reply_says_which_tailscale_it_is_from(daemon: PlayedTailscaled) -> None:
    _, headers, _ = get(daemon.path, "/localapi/v0/status")
    assert headers["content-type"] == "application/json"
    assert headers["tailscale-version"]
    assert headers["tailscale-cap"].isdigit()


def test_http_1_0_gets_an_unchunked_reply_and_the_end_of_the_connection(daemon: PlayedTailscaled) -> None:
    head, _, body = raw(daemon.path, b"GET /localapi/v0/status HTTP/1.0\r\n\r\n").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 200 OK")
    assert b"hunked" not in head
    assert json.loads(body)["BackendState"] == "Running"


def test_several_requests_go_over_one_connection(daemon: PlayedTailscaled) -> None:
    one = f"GET /localapi/v0/status HTTP/1.1\r\nHost: {HOST}\r\n"
    told = raw(daemon.path, f"{one}\r\n{one}Connection: close\r\n\r\n".encode())
    assert told.count(b"HTTP/1.1 200 OK") == 2


@pytest.mark.parametrize("header", [{"Origin": "http://a"}, {"Referer": "http://a/"}, {"Host": "localhost"}])
def test_a_web_page_is_refused(daemon: PlayedTailscaled, header: dict[str, str]) -> None:
    assert get(daemon.path, "/localapi/v0/status", **header)[0] == 403


@pytest.mark.parametrize("request_", [b"hello\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"])
def test_what_is_no_http_gets_400(daemon: PlayedTailscaled, request_: bytes) -> None:
    assert raw(daemon.path, request_).startswith(b"HTTP/1.1 400 Bad Request")


# What it says


def test_status_without_peers_still_knows_its_own_user(daemon: PlayedTailscaled) -> None:
    document = json.loads(get(daemon.path, "/localapi/v0/status?peers=false")[2])
    assert document["Peer"] is None
    assert document["User"][str(document["Self"]["UserID"])]["LoginName"] == "ada@example.com"


def test_a_lonely_node_has_peer_null() -> None:
    alone = Node("alpha")
    assert Tailnet([alone]).status(alone)["Peer"] is None


KINDS = {
    "phone": phone(),
    "android": phone("android", os="android"),
    "tv": television(),
    "mullvad": mullvad(),
    "theirs": Node("theirs", shared_in=True),
    "sharee": Node("sharee", sharee=True),
    "old": Node("old", expired=True),
    "away": Node("away", online=False),
    "four": Node("four", families=(4,)),
    "six": Node("six", families=(6,)),
    "tagged": Node("tagged", tags=("tag:prod",)),
}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("phone", {"OS": "iOS"}),
        ("android", {"OS": "android"}),
        ("tv", {"OS": "tvOS"}),
        ("mullvad", {"ExitNodeOption": True, "DNSName": "se-mma-wg-001.mullvad.ts.net."}),
        ("theirs", {"DNSName": "theirs.tail9876.ts.net."}),
        ("sharee", {"ShareeNode": True}),
        ("old", {"Expired": True}),
        ("away", {"Online": False}),
        ("four", {"TailscaleIPs": ["100.64.0.10"]}),
        ("six", {"TailscaleIPs": ["fd7a:115c:a1e0::b"]}),
        ("tagged", {"Tags": ["tag:prod"]}),
    ],
)
def test_a_peer_of_every_kind_is_marked_as_such(kind: str, expected: dict[str, Any]) -> None:
    me = Node("alpha")
    document = Tailnet([me, *KINDS.values()]).status(me)
    peer = document["Peer"][KINDS[kind].key]
    assert peer | expected == peer


@pytest.mark.parametrize("key", ["ShareeNode", "AltSharerUserID", "Expired", "Location", "Tags"])
def test_what_is_not_so_is_left_out(key: str) -> None:
    me, peer = Node("alpha"), Node("bravo")
    assert key not in Tailnet([me, peer]).status(me)["Peer"][peer.key]


def test_every_user_of_a_node_is_told() -> None:
    me = Node("alpha")
    document = Tailnet([me, *KINDS.values()]).status(me)
    for peer in document["Peer"].values():
        assert str(peer["UserID"]) in document["User"]
        assert str(peer.get("AltSharerUserID", peer["UserID"])) in document["User"]


def test_the_tailnet_may_change_while_it_is_asked(daemon: PlayedTailscaled, tailnet: Tailnet) -> None:
    new = tailnet.add(Node("charlie"))
    assert new.key in status(daemon.path)["Peer"]
    new.addresses = ("100.64.9.9",)
    assert status(daemon.path)["Peer"][new.key]["TailscaleIPs"] == ["100.64.9.9"]
    tailnet.remove(new)
    assert new.key not in status(daemon.path)["Peer"]


@pytest.mark.parametrize("address", ["100.64.0.2", "100.64.0.2:80", "[fd7a:115c:a1e0::2]:80", "::ffff:100.64.0.2"])
def test_whois_knows_a_node_by_any_of_its_addresses(daemon: PlayedTailscaled, address: str) -> None:
    document = json.loads(get(daemon.path, f"/localapi/v0/whois?addr={address}")[2])
    assert document["Node"]["Name"] == "bravo.tail1234.ts.net."
    assert document["UserProfile"]["LoginName"] == "ada@example.com"


@pytest.mark.parametrize(("query", "expected"), [("", 400), ("?addr=x", 400), ("?addr=192.0.2.1", 404)])
def test_whois_says_whom_it_does_not_know(daemon: PlayedTailscaled, query: str, expected: int) -> None:
    assert get(daemon.path, "/localapi/v0/whois" + query)[0] == expected


# How it misbehaves


@pytest.mark.parametrize(
    ("mode", "state"),
    [
        ("stopped", "Stopped"),
        ("starting", "Starting"),
        ("needs-login", "NeedsLogin"),
        ("no-state", "NoState"),
    ],
)
def test_a_daemon_that_is_not_running_says_so(daemon: PlayedTailscaled, mode: str, state: str) -> None:
    daemon.mode = mode
    assert status(daemon.path)["BackendState"] == state


def test_a_daemon_without_login_knows_neither_addresses_nor_peers(daemon: PlayedTailscaled) -> None:
    daemon.mode = "needs-login"
    document = status(daemon.path)
    assert document["TailscaleIPs"] is document["Peer"] is document["CurrentTailnet"] is None


@pytest.mark.parametrize(("mode", "expected"), [("forbidden", 403), ("not-found", 404)])
def test_a_daemon_may_refuse(daemon: PlayedTailscaled, mode: str, expected: int) -> None:
    daemon.mode = mode
    assert get(daemon.path, "/localapi/v0/status")[0] == expected


def test_garbage_is_200_and_no_json(daemon: PlayedTailscaled) -> None:
    daemon.mode = "garbage"
    code, _, body = get(daemon.path, "/localapi/v0/status")
    assert code == 200
    with pytest.raises(json.JSONDecodeError):
        json.loads(body)


def test_a_cut_reply_ends_in_the_middle(daemon: PlayedTailscaled) -> None:
    daemon.mode = "cut"
    with pytest.raises(http.client.IncompleteRead):
        get(daemon.path, "/localapi/v0/status")


def test_a_slow_daemon_answers_after_its_time(daemon: PlayedTailscaled) -> None:
    daemon.mode, daemon.slow_seconds = "slow", 0.2
    started = time.monotonic()
    assert status(daemon.path)["BackendState"] == "Running"
    assert time.monotonic() - started >= 0.2


def test_a_silent_daemon_accepts_and_never_answers(daemon: PlayedTailscaled) -> None:
    daemon.mode = "silent"
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(SILENCE)
        client.connect(str(daemon.path))
        client.sendall(b"GET /localapi/v0/status HTTP/1.0\r\n\r\n")
        with pytest.raises(TimeoutError):
            client.recv(1)


def test_a_daemon_goes_and_comes_back(daemon: PlayedTailscaled) -> None:
    daemon.stop()
    with pytest.raises(FileNotFoundError):
        status(daemon.path)
    daemon.start()
    daemon.stop(leave_socket=True)
    with pytest.raises(ConnectionRefusedError):
        status(daemon.path)
    daemon.start()
    assert status(daemon.path)["BackendState"] == "Running"


def test_an_unknown_mode_is_an_error(daemon: PlayedTailscaled) -> None:
    with pytest.raises(ValueError, match="no mode 'sulky'"):
        daemon.mode = "sulky"


def test_a_stopped_daemon_leaves_no_thread(tailnet: Tailnet, tmp_path: Path) -> None:
    before = threading.active_count()
    with PlayedTailscaled(tmp_path / "ts.sock", tailnet, tailnet.nodes[0]):
        assert threading.active_count() == before + 1
    assert threading.active_count() == before


def test_a_stopped_daemon_leaves_no_connection_not_even_one_being_accepted(
    daemon: PlayedTailscaled, recwarn: pytest.WarningsRecorder
) -> None:
    daemon.stop()
    for _ in range(20):
        daemon.start()
        clients = [socket.socket(socket.AF_UNIX) for _ in range(5)]
        for client in clients:
            client.connect(str(daemon.path))
        daemon.stop()
        for client in clients:
            client.close()
    gc.collect()
    assert not recwarn.list
