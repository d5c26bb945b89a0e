"""A simulated tailnet: makes LocalAPI documents from a list of nodes.

The documents have the shape that tailscaled writes (its nulls and its omitted fields), read in its
`ipn/ipnstate/ipnstate.go` and `tailcfg/tailcfg.go` and compared with recordings of a real daemon in
`test_bed_recorded.py`. This file has no sockets: `tailscaled.py` serves the documents.
"""

from __future__ import annotations

import hashlib
import ipaddress
import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

Document = dict[str, Any]

VERSION = "1.102.5-t0123abcde"
"""The version of the daemon, also in the Tailscale-Version header."""

CAPABILITY = 142
"""The Tailscale-Cap header of VERSION."""

ZERO_TIME = "0001-01-01T00:00:00Z"
"""Go's zero time, which the daemon writes for unknown times."""

_CREATED = "2026-03-14T09:26:53.589793Z"
_EXPIRES = "2036-09-10T09:26:53Z"
_EXPIRED = "2026-06-01T12:00:00Z"

# Tagged nodes (Mullvad's are tagged too) belong to this user, not to the user who added them.
_TAGGED = "tagged-devices"
_SHARER = "sharer@elsewhere.example"

_HEALTH = {
    "NoState": ["Tailscale is starting. Please wait."],
    "NeedsLogin": ["Tailscale is stopped."],
    "Stopped": ["Tailscale is stopped."],
}

# A PeerStatus of Go's zero values, without the fields that Go omits when empty. A daemon that never logged in
# reports itself so, and every node starts from it.
_BLANK: Document = {
    "ID": "",
    "NodeID": 0,
    "PublicKey": "nodekey:" + "0" * 64,
    "HostName": "",
    "DNSName": "",
    "OS": "",
    "UserID": 0,
    "TailscaleIPs": None,
    "Addrs": None,
    "CurAddr": "",
    "Relay": "",
    "PeerRelay": "",
    "RxBytes": 0,
    "TxBytes": 0,
    "Created": ZERO_TIME,
    "LastWrite": ZERO_TIME,
    "LastSeen": ZERO_TIME,
    "LastHandshake": ZERO_TIME,
    "Online": False,
    "ExitNode": False,
    "ExitNodeOption": False,
    "Active": False,
    "PeerAPIURL": None,
    "TaildropTarget": 0,
    "NoFileSharingReason": "",
    "InNetworkMap": False,
    "InMagicSock": False,
    "InEngine": False,
}

_OLD_CAPS = "HTTPS://TAILSCALE.COM/s/DEPRECATED-NODE-CAPS#see-https://github.com/tailscale/tailscale/issues/11508"
_LOCATION = {"Country": "Sweden", "CountryCode": "SE", "City": "Malmö", "CityCode": "MMA", "Priority": 100}

_ids = itertools.count(1)


@dataclass(eq=False)
class Node:
    """One machine of the tailnet. A change of an attribute is in the next answer of the daemon.

    `shared_in` is a machine that another tailnet shared with this one (`AltSharerUserID`). `sharee` is a machine that
    is listed only because this tailnet shared something with its owner (`ShareeNode`). Without `addresses`, the
    tailnet assigns one for each of `families`. A daemon whose own node has `expired` says NeedsLogin, and still
    lists its addresses and peers.
    """

    name: str
    addresses: tuple[str, ...] = ()
    os: str = "linux"
    online: bool = True
    user: str = "ada@example.com"
    tags: tuple[str, ...] = ()
    shared_in: bool = False
    sharee: bool = False
    expired: bool = False
    mullvad: bool = False
    exit_node_option: bool = False
    dns_name: str | None = None
    last_seen: str = "2026-07-30T18:00:00.1Z"  # reported while it is offline; the daemon may also report ZERO_TIME
    families: tuple[int, ...] = (4, 6)
    number: int = field(default_factory=lambda: next(_ids))

    @property
    def key(self) -> str:
        """Its node key: constant, and different for each node."""
        return "nodekey:" + hashlib.sha256(f"{self.number}".encode()).hexdigest()

    @property
    def stable_id(self) -> str:
        """Its stable id, as `ID` in status and `StableID` in whois."""
        return f"n{self.number:07d}CNTRL"

    @property
    def owner(self) -> str:
        """The LoginName that the daemon reports: tags replace the user."""
        return _TAGGED if self.tags or self.mullvad else self.user

    @property
    def ipv4(self) -> str | None:
        """Its first IPv4 address."""
        return next((a for a in self.addresses if ":" not in a), None)

    @property
    def ipv6(self) -> str | None:
        """Its first IPv6 address."""
        return next((a for a in self.addresses if ":" in a), None)


def phone(name: str = "phone", os: str = "iOS") -> Node:
    """Makes a phone ("iOS" or "android")."""
    return Node(name, os=os)


def television(name: str = "television") -> Node:
    """Makes an Apple TV; an Android television reports "android" like a phone."""
    return Node(name, os="tvOS")


def mullvad(name: str = "se-mma-wg-001") -> Node:
    """Makes one of the hundreds of exit nodes that the Mullvad add-on adds to a tailnet."""
    return Node(name, os="", mullvad=True, tags=("tag:mullvad-exit-node",), exit_node_option=True)


class Tailnet:
    """All nodes of a tailnet, and the documents of each node's daemon."""

    def __init__(
        self,
        nodes: Iterable[Node] = (),
        suffix: str = "tail1234.ts.net",
        prefixes: tuple[str, str] = ("100.64.0.", "fd7a:115c:a1e0::"),
    ) -> None:
        self.suffix = suffix
        self.tun = True
        self.proxied: dict[str, Node] = {}
        """In userspace networking mode: by "127.0.0.1:port", the node whose connection comes from there."""
        self._prefixes = prefixes
        self._nodes: list[Node] = []
        for node in nodes:
            self.add(node)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The current nodes."""
        return tuple(self._nodes)

    def add(self, node: Node) -> Node:
        """Adds a node. Without addresses, it gets the next free ones."""
        if not node.addresses:
            node.addresses = self._free(node.families)
        self._nodes.append(node)
        return node

    def remove(self, node: Node) -> None:
        """Removes a node."""
        self._nodes.remove(node)

    def dns_name(self, node: Node) -> str:
        """Returns the DNSName of a node, with its final dot."""
        if node.dns_name is not None:
            return node.dns_name
        zone = "mullvad.ts.net" if node.mullvad else "tail9876.ts.net" if node.shared_in else self.suffix
        return f"{node.name.lower()}.{zone}."

    def status(self, of: Node, peers: bool = True, state: str = "Running") -> Document:
        """Returns the answer of `of`'s daemon to `GET status` (`?peers=false` if `peers` is False)."""
        expired = of.expired and state == "Running"
        if expired:
            state = "NeedsLogin"  # but it still has the netmap
        known = expired or state in ("Running", "Stopped", "Starting")  # else there is no netmap
        others = [n for n in self.nodes if n is not of]
        users = {n.owner for n in ([of, *others] if peers else [of])}
        if any(n.shared_in for n in others) and peers:
            users.add(_SHARER)
        return {
            "Version": VERSION,
            "TUN": self.tun,
            "BackendState": state,
            **({"HaveNodeKey": True} if known or state == "NoState" else {}),
            "AuthURL": "",
            "TailscaleIPs": list(of.addresses) if known else None,
            "Self": self._self(of, state) if known else {**_BLANK, "HostName": of.name, "OS": of.os, "Addrs": []},
            "Health": [] if expired else _HEALTH.get(state, []),
            "MagicDNSSuffix": self.suffix if known else "",
            "CurrentTailnet": {"Name": of.user, "MagicDNSSuffix": self.suffix, "MagicDNSEnabled": True}
            if known
            else None,
            "CertDomains": None,
            "ExtraRecords": None,
            # Go sorts the keys of a map, and writes a nil map as null.
            "Peer": {n.key: self._peer(n) for n in sorted(others, key=lambda n: n.key)}
            if peers and known and others
            else None,
            "User": {str(p["ID"]): p for p in sorted(map(_profile, users), key=lambda p: str(p["ID"]))}
            if known
            else None,
            "ClientVersion": None,
        }

    def whois(self, address: str) -> Document | None:
        """Returns the document for an `ip`, `ip:port`, `[ip6]:port` or node key; None if no node has it.

        ValueError if it is not an address: the daemon answers 400 then, and 404 to an unknown address.
        """
        if address in self.proxied:
            node: Node | None = self.proxied[address]
        elif address.startswith("nodekey:"):
            node = next((n for n in self.nodes if n.key == address), None)
        else:
            ip = _parse_ip(address)
            node = next((n for n in self.nodes if ip in map(ipaddress.ip_address, n.addresses)), None)
        if node is None:
            return None
        return {"Node": self._whois_node(node), "UserProfile": _profile(node.owner), "CapMap": None}

    def _self(self, node: Node, state: str) -> Document:
        return {
            **self._peer(node),
            "Addrs": ["192.0.2.10:41641"],
            "LastSeen": ZERO_TIME,
            "Online": node.online and state != "Stopped",
            **({} if state == "Running" else {"PeerAPIURL": None}),
            "TaildropTarget": 0,
            "InMagicSock": False,
            "Capabilities": [_OLD_CAPS, "https://tailscale.com/cap/file-sharing"],
            "CapMap": {"https://tailscale.com/cap/file-sharing": []},
        }

    def _peer(self, node: Node) -> Document:
        # A tagged node's key never expires.
        expiry = _EXPIRED if node.expired else None if node.tags else _EXPIRES
        return {
            **_BLANK,
            "ID": node.stable_id,
            "NodeID": 10_000_000 + node.number,
            "PublicKey": node.key,
            "HostName": node.name,
            "DNSName": self.dns_name(node),
            "OS": node.os,
            "UserID": _user_id(node.owner),
            **({"AltSharerUserID": _user_id(_SHARER)} if node.shared_in else {}),
            "TailscaleIPs": list(node.addresses),
            "AllowedIPs": _prefixes_of(node),
            **({"Tags": list(node.tags)} if node.tags else {}),
            "Relay": "nue",
            "Created": _CREATED,
            "LastSeen": ZERO_TIME if node.online else node.last_seen,
            "Online": node.online,
            "ExitNodeOption": node.exit_node_option or node.mullvad,
            "PeerAPIURL": [f"http://{f'[{a}]' if ':' in a else a}:41641" for a in node.addresses],
            "TaildropTarget": 1 if node.online else 5,
            **({"ShareeNode": True} if node.sharee else {}),
            "InNetworkMap": True,
            "InMagicSock": True,
            **({"Expired": True} if node.expired else {}),
            **({"KeyExpiry": expiry} if expiry else {}),
            **({"Location": _LOCATION} if node.mullvad else {}),
        }

    def _whois_node(self, node: Node) -> Document:
        name = self.dns_name(node)
        return {
            "ID": 10_000_000 + node.number,
            "StableID": node.stable_id,
            "Name": name,
            "User": _user_id(node.owner),
            "Key": node.key,
            **({} if node.tags else {"KeyExpiry": _EXPIRED if node.expired else _EXPIRES}),
            "Machine": "mkey:" + hashlib.sha256(node.key.encode()).hexdigest(),
            "DiscoKey": "discokey:" + hashlib.sha256(node.stable_id.encode()).hexdigest(),
            "Addresses": [f"{a}/{128 if ':' in a else 32}" for a in node.addresses],
            "AllowedIPs": _prefixes_of(node),
            "Endpoints": ["192.0.2.10:41641"],
            "HomeDERP": 4,
            "Hostinfo": {"OS": node.os, "Hostname": node.name},
            "Created": _CREATED,
            "Cap": CAPABILITY,
            **({"Tags": list(node.tags)} if node.tags else {}),
            "Online": node.online,
            "MachineAuthorized": True,
            "ComputedName": name.partition(".")[0],
            "ComputedNameWithHost": name.partition(".")[0],
        }

    def _free(self, families: tuple[int, ...]) -> tuple[str, ...]:
        taken = {a for n in self._nodes for a in n.addresses}
        for last in range(1, 255):
            pair = {4: f"{self._prefixes[0]}{last}", 6: f"{self._prefixes[1]}{last:x}"}
            if not taken & set(pair.values()):
                return tuple(pair[f] for f in families)
        raise ValueError("the played tailnet has 254 nodes; it has no more addresses")


def _user_id(login: str) -> int:
    return int.from_bytes(hashlib.sha256(login.encode()).digest()[:6], "big")


def _profile(login: str) -> Document:
    return {"ID": _user_id(login), "LoginName": login, "DisplayName": login.partition("@")[0].replace("-", " ").title()}


def _prefixes_of(node: Node) -> list[str]:
    own = [f"{a}/{128 if ':' in a else 32}" for a in node.addresses]
    return own + (["0.0.0.0/0", "::/0"] if node.exit_node_option or node.mullvad else [])


def _parse_ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Returns the IP of `ip`, `ip:port` or `[ip6]:port`; an IPv4-mapped IPv6 address as IPv4."""
    try:
        ip = ipaddress.ip_address(text)
    except ValueError:
        host, _, port = text.rpartition(":")
        if not port.isdigit() or int(port) > 65535:
            raise
        ip = ipaddress.ip_address(host[1:-1] if host.startswith("[") and host.endswith("]") else host)
    return (ip.ipv4_mapped or ip) if isinstance(ip, ipaddress.IPv6Address) else ip
