"""Tailscale: our own node and its peers, from tailscaled's LocalAPI.

It sends ``GET /localapi/v0/status`` (and ``whois``) to the daemon's Unix socket. The format of the reply is up to the
daemon, so every part of it may be missing or null. The request is HTTP/1.0: Go's server then sends no chunks and closes
the connection at the end, so there is no framing to parse. That saves every ``md`` the import of an HTTP library, which
would take longer than the request.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from ..base.errors import TailscaleError
from ..base.model import Peer, Snapshot, join_address, order_addresses

_REQUEST: Final = b"GET /localapi/v0/%b HTTP/1.0\r\nHost: local-tailscaled.sock\r\n\r\n"
_MOST_OCTETS: Final = 64 << 20
_PROGRAM: Final = "tailscaled"
_WITHOUT_TUN: Final = "127.0.0.1"  # the address of our own registry in userspace networking

# The places of the daemon's socket, by platform; the first that exists is used.
_SOCKETS: Final = {
    "linux": (
        "/var/run/tailscale/tailscaled.sock",
        "/tmp/tailscaled.sock",  # noqa: S108 - the container image's default
        "/var/packages/Tailscale/var/tailscaled.sock",  # Synology DSM 7
        "/var/packages/Tailscale/etc/tailscaled.sock",  # Synology DSM 6
        "/tmp/tailscale/tailscaled.sock",  # noqa: S108 - QNAP
        "/perm/tailscaled/tailscaled.sock",  # Gokrazy
    ),
    "darwin": ("/var/run/tailscaled.socket",),
    "freebsd": ("/var/run/tailscale/tailscaled.sock",),
}

# No registry runs on these, so they are not queried.
_PHONES_AND_TELEVISIONS: Final = frozenset(("ios", "android", "tvos"))

_STATES: Final = {
    "Stopped": "Tailscale is stopped: run 'tailscale up'",
    "NeedsLogin": "Tailscale is logged out: run 'tailscale up' and log in",
    "NeedsMachineAuth": "this machine waits to be approved by an admin of the tailnet",
    "NoState": "Tailscale is starting: try again in a moment",
    "Starting": "Tailscale is starting: try again in a moment",
    "InUseOtherUser": "Tailscale is in use by another user of this machine",
}


class Tailscale:
    """The tailnet of this machine's tailscaled. `path` is its socket; by default ``TS_SOCKET``, then the platform's."""

    def __init__(self, port: int, path: str | None = None) -> None:
        self._port = port
        self._path = path
        self._version: str | None = None
        self._mask: int | None = None

    def read(self, timeout: float) -> Snapshot:
        """Reads the status as a snapshot. TailscaleError says what is wrong and what to do."""
        return self._snapshot(self.status(timeout))

    def status(self, timeout: float) -> Mapping[str, Any]:
        """Reads the status document of the daemon, whatever its state."""
        path = self._path or socket_path()
        received = bytearray()
        deadline = time.monotonic() + timeout
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
                stream.settimeout(timeout)
                stream.connect(path)
                stream.sendall(_REQUEST % b"status")
                while octets := stream.recv(1 << 18):
                    received += octets
                    left = deadline - time.monotonic()
                    if left <= 0 or len(received) > _MOST_OCTETS:
                        raise TimeoutError
                    stream.settimeout(left)
        except OSError as error:
            raise _unreachable(path, error, timeout) from error
        return _document(bytes(received), path)

    async def aread(self, timeout: float) -> Snapshot:
        """The same, without blocking the running event loop."""
        path = self._path or socket_path()
        return self._snapshot(_document(await _ask(path, b"status", timeout), path))

    async def changes(self) -> AsyncIterator[None]:
        """Yields when something may have changed. TailscaleError if the daemon refuses, or breaks off."""
        from .tailscale_bus import MASK, OLDER_MASK, mask_for, ring

        mask = self._mask or mask_for(self._version)
        # If the daemon refuses this mask, the next call uses the other one.
        self._mask = MASK + OLDER_MASK - mask
        async for _ in ring(self._path or socket_path(), mask):
            self._mask = mask
            yield

    def _snapshot(self, document: Mapping[str, Any]) -> Snapshot:
        self._version = str(document.get("Version"))
        return snapshot(document, self._port)

    async def whois(self, address: str, port: int, timeout: float) -> bool:
        """Whether a connection comes from another node: in userspace networking all connections seem to be local.

        The daemon searches for a while before it replies that it knows no such node.
        """
        path = self._path or socket_path()
        received = await _ask(path, b"whois?addr=" + join_address(address, port).encode(), timeout)
        if received.split(b" ", 2)[1:2] == [b"404"]:
            return False
        _document(received, path)
        return True


async def _ask(path: str, what: bytes, timeout: float) -> bytes:
    """Returns the daemon's whole reply to one request, with its HTTP header."""
    import asyncio  # read() does not need it, and its import is half of the start time of md

    try:
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_unix_connection(path, limit=_MOST_OCTETS)
            try:
                writer.write(_REQUEST % what)
                return await reader.read(-1)
            finally:
                writer.close()
    except OSError as error:
        raise _unreachable(path, error, timeout) from error


def socket_path() -> str:
    """The path of tailscaled's socket: ``TS_SOCKET``, else the first of the platform's places that exists."""
    if chosen := os.environ.get("TS_SOCKET"):
        return chosen
    platform = "freebsd" if sys.platform.startswith("freebsd") else sys.platform
    places = _SOCKETS.get(platform, _SOCKETS["linux"])
    return next((place for place in places if os.path.exists(place)), places[0])


def _unreachable(path: str, error: OSError, timeout: float) -> TailscaleError:
    if isinstance(error, TimeoutError):
        return TailscaleError(f"{_PROGRAM} at {path} did not answer within {timeout:g} s: is it stuck? Restart it")
    if isinstance(error, FileNotFoundError):
        return TailscaleError(
            f"{_PROGRAM} is not running: there is no socket {path}. Start Tailscale, or set TS_SOCKET to its socket; "
            "without Tailscale, name your nodes with --network static:ADDRESS,…"
        )
    if isinstance(error, ConnectionRefusedError):
        return TailscaleError(f"{_PROGRAM} is not running: no program listens at its socket {path}. Start Tailscale")
    if isinstance(error, PermissionError):
        return TailscaleError(
            f"this user is not allowed to open {path} ({error.strerror}): ask its owner, or run as root"
        )
    return TailscaleError(f"cannot connect to {_PROGRAM} at {path}: {error.strerror or error}")


def _document(received: bytes, path: str) -> Mapping[str, Any]:
    head, blank, body = received.partition(b"\r\n\r\n")
    status = head.split(b" ", 2)
    if not blank or len(status) < 2 or not head.startswith(b"HTTP/"):
        raise TailscaleError(
            f"{_PROGRAM} at {path} sent an incomplete response, or is not {_PROGRAM}: try again, or restart it"
        )
    if status[1] == b"403":
        said = body.decode("utf-8", "replace").strip()[:200]
        raise TailscaleError(
            f"{_PROGRAM} at {path} refused this user (403: {said}): run as root, or 'tailscale set --operator=$USER'"
        )
    if status[1] != b"200":
        code = status[1].decode("ascii", "replace")
        raise TailscaleError(
            f"{_PROGRAM} at {path} answered HTTP {code} instead of its status: update Tailscale if it is old"
        )
    try:
        document = json.loads(body)
    except ValueError:
        raise TailscaleError(f"{_PROGRAM} at {path} sent an incomplete response: try again") from None
    if not isinstance(document, dict):
        raise TailscaleError(f"{_PROGRAM} at {path} sent a response that is not a status: check that it is {_PROGRAM}")
    return document


def snapshot(document: Mapping[str, Any], port: int) -> Snapshot:
    """Turns a status document into a snapshot. TailscaleError if this machine is not connected."""
    state = document.get("BackendState")
    if state != "Running":
        raise TailscaleError(_STATES.get(str(state), f"Tailscale is not connected (its state is {state!r})"))
    users = _mapping(document.get("User"))
    own = _mapping(document.get("Self"))
    me = _peer(own, users, port)
    if me is None:
        raise TailscaleError("Tailscale has given this machine no address yet: try again in a moment")
    peers = (_peer(_mapping(node), users, port) for node in _mapping(document.get("Peer")).values())
    tun = document.get("TUN") is not False
    return Snapshot(
        me if tun else me._replace(route=(_WITHOUT_TUN,)),
        tuple(peer for peer in peers if peer),
        "tailscale",
        tun=tun,
        full_name=str(own.get("DNSName") or "").removesuffix("."),
    )


def _peer(node: Mapping[str, Any], users: Mapping[str, Any], port: int) -> Peer | None:
    try:
        addresses = order_addresses(str(address) for address in node.get("TailscaleIPs") or ())
    except (TypeError, ValueError):
        return None
    if not addresses:
        return None
    dns_name = str(node.get("DNSName") or "")
    foreign = bool(node.get("ShareeNode")) or bool(node.get("AltSharerUserID"))
    mullvad = bool(node.get("ExitNodeOption")) and (
        dns_name.endswith("mullvad.ts.net.") or node.get("Location") is not None
    )
    ours = not foreign and not mullvad and not node.get("Expired")
    tags = node.get("Tags") or ()
    user = _mapping(users.get(str(node.get("UserID"))))
    return Peer(
        name=dns_name.partition(".")[0] or str(node.get("HostName") or ""),
        addresses=addresses,
        port=port,
        # A tagged node belongs to its tags; the user in its status is only a placeholder.
        owner=None if tags else user.get("LoginName") or None,
        tags=tuple(str(tag) for tag in tags),
        online=bool(node.get("Online")),
        asked=ours and str(node.get("OS") or "").lower() not in _PHONES_AND_TELEVISIONS,
        member=ours,
        # Another tailnet may use the same IDs, but not for machines with the same key or the same domain.
        node=f"{node.get('ID') or ''} {node.get('PublicKey') or ''} {dns_name}",
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
