"""A simulated tailscaled: the LocalAPI on a Unix socket, as Go's net/http serves it.

`status` and `whois` use the data of a `Tailnet`; `watch-ipn-bus` sends a message when `ring` is called; `mode` and
`bus` make the daemon misbehave. Other paths of the real daemon (prefs, ping) return 404 here. A Unix socket is a file,
so it is reachable from every network namespace.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
import threading
from email.utils import formatdate
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit

from .tailnet import CAPABILITY, VERSION, Node, Tailnet

HOST = "local-tailscaled.sock"
"""The Host header that the daemon accepts, besides an empty one; it returns 403 for any other."""

_STATES = {"stopped": "Stopped", "needs-login": "NeedsLogin", "no-state": "NoState", "starting": "Starting"}

MODES = frozenset({"ok", "slow", "cut", "forbidden", "garbage", "silent", "not-found", *_STATES})
"""The values of `PlayedTailscaled.mode`."""

BUS_MODES = frozenset({"ok", "closes", "stalls", "mute", "refuses", "refuses-4098", "garbage", "huge", "absent"})
"""The values of `PlayedTailscaled.bus`."""

# Masks for partial updates, which the rate-limited bus (256) cannot send; and the mask for tailscaled's own use.
_PIECES = {4096: "PeerChanges", 8192: "NoNetMap", 16384: "InitialStatus", 32768: "PeerPatches"}
_IN_PROCESS = 65536
_HUGE = 8 << 20

# Go's net/http buffers this much of a reply to find its Content-Length; a longer reply is chunked.
_GO_BUFFER = 2048


class PlayedTailscaled:
    """The daemon of node `me` on the Unix socket `path`, until the `with` block ends.

    `mode` and `slow_seconds` may be set at any time, and apply from the next request on: "slow" responds after
    `slow_seconds`; "cut" closes after half of the body; "silent" reads and never responds; "garbage" is 200 without
    JSON; "forbidden" and "not-found" are 403 and 404; "stopped", "starting", "needs-login" and "no-state" are
    well-formed documents of a daemon that is not running.

    `bus` applies from the next watcher on: "closes" after the first message; "stalls" never responds; "mute" sends only
    the head; "refuses" is 400, and "refuses-4098" is 400 for that mask; "garbage" and "huge" are messages without JSON
    and line ends, and of 8 MB; "absent" is 404.
    """

    def __init__(self, path: str | Path, tailnet: Tailnet, me: Node, mode: str = "ok") -> None:
        self.path = Path(path)
        self.tailnet = tailnet
        self.me = me
        self.slow_seconds = 1.0
        self.requests: list[str] = []
        """The request targets so far ("/localapi/v0/status")."""
        self.mode = mode
        self.bus = "ok"
        self.version = VERSION
        self._watchers: set[asyncio.Queue[bytes]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread: threading.Thread | None = None
        self._connections: dict[asyncio.Task[None], asyncio.WriteTransport] = {}

    @property
    def mode(self) -> str:
        """How the daemon misbehaves; see the class."""
        return self._mode

    @mode.setter
    def mode(self, value: str) -> None:
        if value not in MODES:
            raise ValueError(f"no mode {value!r}; there are {', '.join(sorted(MODES))}")
        self._mode = value

    @property
    def watchers(self) -> int:
        """The number of current watchers of the bus."""
        return len(self._watchers)

    def ring(self, **fields: object) -> None:
        """Sends a change to all watchers; `fields` are those of the message, such as ``State=4``."""
        if self._loop is not None:
            for watcher in list(self._watchers):
                self._loop.call_soon_threadsafe(watcher.put_nowait, self._message(**fields))

    def start(self) -> None:
        """Starts to listen; returns when a connect succeeds. May be called again after `stop`."""
        self.path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        try:
            listener.bind(str(self.path))
            self.path.chmod(0o666)  # as the real daemon: any local user may read
            listener.listen(128)
        except OSError:
            listener.close()
            raise
        ready = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(listener, ready)), name=f"tailscaled {self.me.name}"
        )
        self._thread.start()
        ready.wait()

    def stop(self, leave_socket: bool = False) -> None:
        """Stops it and closes its connections; `leave_socket` leaves a dead socket file behind, as kill -9 does."""
        if self._thread is None or self._loop is None or self._stop is None:
            return
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._thread = None
        self.path.unlink(missing_ok=True)
        if leave_socket:
            with socket.socket(socket.AF_UNIX) as dead:
                dead.bind(str(self.path))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def _serve(self, listener: socket.socket, ready: threading.Event) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_unix_server(self._accepted, sock=listener)
        ready.set()
        await self._stop.wait()
        # Waits for connections that asyncio is still accepting: if they were cancelled, or the server closed, they
        # would stay open. Unsent data is dropped, as the loop would end before it is sent.
        self._loop.remove_reader(listener)
        while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            for connection, transport in self._connections.items():
                transport.abort()
                connection.cancel()
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        server.close()

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._connection(reader, writer))
        self._connections[task] = writer.transport
        task.add_done_callback(self._connections.pop)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Responds to requests until client or server ends; returns when all data is sent."""
        try:
            while await self._request(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client is gone
        finally:
            writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Responds to one request; returns whether the connection stays open."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            writer.write(_bad("431 Request Header Fields Too Large"))
            return False
        lines = head.decode("latin-1").split("\r\n")[:-2]
        try:
            method, target, version = lines[0].split(" ")
            fields = [line.split(":", 1) for line in lines[1:]]
            headers = {name.lower(): value.strip() for name, value in fields}
        except ValueError:
            version = ""
        if version not in ("HTTP/1.0", "HTTP/1.1"):
            writer.write(_bad("400 Bad Request"))
            return False
        if version == "HTTP/1.1" and "host" not in headers:
            writer.write(_bad("400 Bad Request: missing required Host header"))
            return False
        self.requests.append(target)
        mode = self.mode
        if mode == "silent":
            await asyncio.Event().wait()
        if mode == "slow":
            await asyncio.sleep(self.slow_seconds)
        url = urlsplit(target)
        if url.path == "/localapi/v0/watch-ipn-bus" and mode not in ("forbidden", "not-found", "cut"):
            return await self._watch(reader, writer, url.query, headers)
        wish = headers.get("connection", "").lower()
        keep = wish != "close" and (version == "HTTP/1.1" or wish == "keep-alive")
        status, reply, body = self._answer(mode, target, headers)
        wire_head, wire_body, keep = _frame(version, keep, status, reply, b"" if method == "HEAD" else body)
        writer.write(wire_head + (wire_body[: len(wire_body) // 2] if mode == "cut" else wire_body))
        await writer.drain()
        return keep and mode != "cut"

    async def _watch(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, query: str, headers: dict[str, str]
    ) -> bool:
        """The bus: sends messages until client or server ends."""
        said = parse_qs(query).get("mask", ["0"])[0]
        mask = int(said) if said.isdecimal() else None
        bus = self.bus
        if bus == "stalls":
            await reader.read()
        wrong = _wrong(mask)
        if bus == "refuses" or (bus == "refuses-4098" and mask == 4098):
            wrong = "invalid mask"
        if bus == "absent" or wrong:
            error = _error(404, "404 page not found", self._common) if bus == "absent" else None
            head, body, _ = _frame("HTTP/1.0", False, *(error or _error(400, wrong, self._common)))
            writer.write(head + body)
            return False
        if headers.get("origin") or headers.get("referer") or headers.get("host", "") not in ("", HOST):
            head, body, _ = _frame("HTTP/1.0", False, *_error(403, "invalid localapi request"))
            writer.write(head + body)
            return False
        fields = {**self._common, "Content-Type": "application/json", "Date": formatdate(usegmt=True)}
        lines = (f"{name}: {fields[name]}" for name in sorted(fields))
        writer.write("\r\n".join(["HTTP/1.0 200 OK", *lines, "", ""]).encode())
        watcher: asyncio.Queue[bytes] = asyncio.Queue()
        self._watchers.add(watcher)
        ended = asyncio.ensure_future(reader.read())  # the client sends no more; the read returns at its end
        try:
            if bus != "mute" and mask is not None and mask & 2:
                watcher.put_nowait(self._message(SessionID="0123456789abcdef", State=6))
            while not ended.done():
                told = asyncio.ensure_future(watcher.get())
                try:
                    await asyncio.wait((told, ended), return_when=asyncio.FIRST_COMPLETED)
                finally:
                    told.cancel()
                if not told.done():
                    break
                message = told.result()
                if bus == "garbage":
                    message = b"\x00\xff{]" * 1000
                elif bus == "huge":
                    message = b'{"NetMap":"' + b"x" * _HUGE + b'"}\n'
                writer.write(message)
                await writer.drain()
                if bus == "closes":
                    break
        finally:
            self._watchers.discard(watcher)
            ended.cancel()
        return False

    @property
    def _common(self) -> dict[str, str]:
        """The headers of every reply to a permitted client."""
        return {
            "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; script-src 'none'; "
            "script-src-elem 'none'; script-src-attr 'none'",
            "Tailscale-Cap": str(CAPABILITY),
            "Tailscale-Version": self.version,
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
        }

    def _message(self, **fields: object) -> bytes:
        """A message of the bus as one line, in the format of the recorded daemon."""
        empty = ("ErrMessage", "LoginFinished", "State", "Prefs", "NetMap", "Engine", "BrowseToURL", "DriveShares")
        return json.dumps({"Version": self.version, **dict.fromkeys(empty), **fields}).encode() + b"\n"

    def _answer(self, mode: str, target: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body; checks the request in the order of the real daemon."""
        if headers.get("origin") or headers.get("referer") or headers.get("host", "") not in ("", HOST):
            return _error(403, "invalid localapi request")
        common = self._common
        url = urlsplit(target)
        name = url.path.removeprefix("/localapi/v0/")
        if mode == "not-found" or name not in ("status", "whois") or name == url.path:
            return _error(404, "404 page not found", common)
        if mode == "forbidden":
            return _error(403, f"{name} access denied", common)
        as_json = {**common, "Content-Type": "application/json"}
        if mode == "garbage":
            return 200, as_json, b"<html>this is no JSON</html>\n"
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        state = _STATES.get(mode, "Running")
        if name == "status":
            peers = query.get("peers", "true").lower() not in ("0", "f", "false")
            document = {**self.tailnet.status(self.me, peers=peers, state=state), "Version": self.version}
            return 200, as_json, _go_json(document) + b"\n"
        if "addr" not in query:
            return _error(400, "missing 'addr' parameter", common)
        try:
            # Without a netmap the daemon knows no node.
            found = None if state in ("NeedsLogin", "NoState") else self.tailnet.whois(query["addr"])
        except ValueError:
            return _error(400, "invalid 'addr' parameter", common)
        if found is None:
            return _error(404, "no match for IP:port", common)
        return 200, as_json, _go_json(found)


def get(path: Path, target: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Sends one request to a LocalAPI; returns status, headers (names in lower case) and body."""
    connection = http.client.HTTPConnection(HOST, timeout=5)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(5)
    try:
        connection.sock.connect(str(path))
        connection.request("GET", target, headers=headers)
        reply = connection.getresponse()
        return reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read()
    finally:
        connection.close()


def _go_json(document: object) -> bytes:
    """JSON as Go writes it: indented by tabs, UTF-8 not escaped."""
    return json.dumps(document, indent="\t", ensure_ascii=False).encode()


def _wrong(mask: int | None) -> str:
    """Why the daemon refuses a mask of the bus; "" if it does not."""
    if mask is None:
        return "bad mask"
    if mask & _IN_PROCESS:
        return "NotifyInProcessNoDisconnect is only valid for in-process IPN bus subscribers"
    pieces = [f"ipn.Notify{name}" for bit, name in _PIECES.items() if mask & bit]
    if not mask & 256 or not pieces:
        return ""
    told = pieces[0] if len(pieces) == 1 else f"({' | '.join(pieces)})"
    return f"NotifyRateLimit is incompatible with new-style IPN bus subscription bits {told}"


def _error(status: int, text: str, headers: dict[str, str] | None = None) -> tuple[int, dict[str, str], bytes]:
    """The reply of Go's http.Error."""
    plain = {"Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff"}
    return status, {**(headers or {}), **plain}, text.encode() + b"\n"


def _bad(status: str) -> bytes:
    """Go's reply to a request that is not HTTP: it comes before any handler, and has no Date."""
    lines = (f"HTTP/1.1 {status}", "Content-Type: text/plain; charset=utf-8", "Connection: close", "", status)
    return "\r\n".join(lines).encode()


def _frame(version: str, keep: bool, status: int, headers: dict[str, str], body: bytes) -> tuple[bytes, bytes, bool]:
    """Head, framed body, and whether the connection may stay open, by the rules of net/http."""
    lines = [f"{name}: {headers[name]}" for name in sorted(headers)]
    lines.append(f"Date: {formatdate(usegmt=True)}")
    if len(body) <= _GO_BUFFER:
        lines.append(f"Content-Length: {len(body)}")
    elif version == "HTTP/1.1":
        lines.append("Transfer-Encoding: chunked")
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    else:
        keep = False  # the end of the connection is the end of the body
    if keep != (version == "HTTP/1.1"):
        # Written only if it is not the default of the HTTP version.
        lines.append(f"Connection: {'keep-alive' if keep else 'close'}")
    reason = {200: "OK", 400: "Bad Request", 403: "Forbidden", 404: "Not Found"}[status]
    return "\r\n".join([f"{version} {status} {reason}", *lines, "", ""]).encode(), body, keep
