"""The simulated tailscaled is like the real one: compared with recordings of tailscaled 1.102 (data/localapi/).

Each recorded document is produced again from its nodes. Both must have the same keys with the same kinds of values;
null and omitted are two kinds. Exceptions are only differences of the recorded control server (headscale).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from places import TESTS

from bed.tailnet import Node, Tailnet
from bed.tailscaled import HOST, PlayedTailscaled
from tests.bed.test_bed_tailscaled import raw

RECORDED = TESTS / "data" / "localapi"
STATUS = sorted(path.name for path in RECORDED.glob("status*.json"))
WHOIS = sorted(path.name for path in RECORDED.glob("whois*.json"))

# Fields of a node whose values must be equal, not only their kinds.
EQUAL = (
    "HostName",
    "DNSName",
    "OS",
    "TailscaleIPs",
    "AllowedIPs",
    "Tags",
    "Online",
    "LastSeen",
    "Expired",
    "ShareeNode",
)


def load(name: str) -> Any:
    return json.loads((RECORDED / name).read_text())


def node(told: dict[str, Any]) -> Node:
    """The node that a PeerStatus describes."""
    return Node(
        told["HostName"],
        tuple(told["TailscaleIPs"] or ()),
        online=told["Online"],
        tags=tuple(told.get("Tags", ())),
        expired=told.get("Expired", False),
        last_seen=told["LastSeen"],
    )


def shape(value: Any) -> Any:
    """Keys and kinds of values, without the keys in CapMap and the expiry, which differ by control server."""
    if isinstance(value, dict):
        kept = {k: v for k, v in value.items() if k not in ("KeyExpiry", "Hostinfo")}
        return {k: type(v).__name__ if k == "CapMap" else shape(v) for k, v in kept.items()}
    return type(value).__name__


def played(recorded: dict[str, Any]) -> dict[str, Any]:
    """The document of the same tailnet from the bed."""
    me = node(recorded["Self"])
    tailnet = Tailnet([me, *map(node, (recorded["Peer"] or {}).values())])
    tailnet.tun = recorded["TUN"]
    # An expired node of the bed changes its own state to NeedsLogin.
    return tailnet.status(me, state="Running" if me.expired else recorded["BackendState"])


def users(document: dict[str, Any]) -> dict[str, str]:
    return {user["LoginName"]: user["DisplayName"] for user in (document["User"] or {}).values()}


def by_name(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {n["HostName"]: n for n in [document["Self"], *(document["Peer"] or {}).values()]}


def test_there_are_recordings() -> None:
    assert len(STATUS) > 5
    assert WHOIS


@pytest.mark.parametrize("name", STATUS)
def test_a_status_has_the_keys_of_a_recorded_one(name: str) -> None:
    recorded = load(name)
    ours = played(recorded)
    assert shape(ours | {"Peer": None, "User": None}) == shape(recorded | {"Peer": None, "User": None})
    for host, told in by_name(recorded).items():
        assert shape(by_name(ours)[host]) == shape(told), host
    assert type(ours["Peer"]) is type(recorded["Peer"])
    assert type(ours["User"]) is type(recorded["User"])


@pytest.mark.parametrize("name", STATUS)
def test_a_status_says_what_a_recorded_one_says(name: str) -> None:
    recorded = load(name)
    ours = played(recorded)
    for key in ("Version", "TUN", "BackendState", "HaveNodeKey", "TailscaleIPs", "Health", "MagicDNSSuffix"):
        assert ours.get(key) == recorded.get(key), key
    for host, told in by_name(recorded).items():
        assert {k: by_name(ours)[host].get(k) for k in EQUAL} == {k: told.get(k) for k in EQUAL}
    assert users(ours) == users(recorded)


@pytest.mark.parametrize("name", WHOIS)
def test_a_whois_has_the_keys_of_a_recorded_one(name: str) -> None:
    recorded = load(name)
    told = recorded["Node"]
    addresses = tuple(prefix.partition("/")[0] for prefix in told["Addresses"])
    tailnet = Tailnet([Node(told["Hostinfo"]["Hostname"], addresses, tags=tuple(told.get("Tags", ())))])
    ours = tailnet.whois(addresses[0])
    assert shape(ours) == shape(recorded)


def sections(name: str) -> list[tuple[str, str]]:
    """The pairs (request, reply) of a recorded file."""
    parts = ("\n" + (RECORDED / name).read_text()).split("\n# GET ")[1:]
    split = [part.partition("\n")[::2] for part in parts]
    return [(asked, reply) for asked, reply in split if "watch-ipn-bus" not in asked]


def undated(text: str) -> str:
    return "\n".join(line for line in text.replace("\r", "").splitlines() if not line.startswith("Date: ")).strip()


@pytest.fixture
def daemon(tmp_path: Path) -> PlayedTailscaled:
    me = Node("alpha")
    return PlayedTailscaled(tmp_path / "ts.sock", Tailnet([me, Node("bravo"), Node("charlie")]), me)


@pytest.mark.parametrize(("asked", "reply"), sections("errors.txt") + sections("whois-404.txt"))
def test_an_error_is_told_in_the_same_words(daemon: PlayedTailscaled, asked: str, reply: str) -> None:
    target, _, header = asked.partition(", with ")
    header = header.removeprefix("the header ")
    host = "" if header.startswith("Host:") else f"Host: {HOST}"
    head = "\r\n".join(line for line in (f"GET /localapi/v0/{target} HTTP/1.0", host, header) if line)
    with daemon:
        assert undated(raw(daemon.path, f"{head}\r\n\r\n".encode()).decode()) == undated(reply)


@pytest.mark.parametrize(("asked", "reply"), sections("heads.txt"))
def test_a_reply_has_the_same_head(daemon: PlayedTailscaled, asked: str, reply: str) -> None:
    if "less than 2 KiB" in asked:
        daemon.mode = "needs-login"
    version = "HTTP/1.1" if "HTTP/1.1" in asked else "HTTP/1.0"
    with daemon:
        told = raw(
            daemon.path, f"GET /localapi/v0/status {version}\r\nHost: {HOST}\r\n\r\n".encode(), until=b"\r\n\r\n"
        )

    def head(text: str) -> list[str]:
        lines = undated(text.replace("\r", "").partition("\n\n")[0]).splitlines()
        return ["Content-Length: some" if line.startswith("Content-Length") else line for line in lines]

    assert head(told.decode()) == head(reply)
