"""Gathers the facts for ``md doctor`` and passes them to the findings functions. It changes nothing.

Each check runs in a thread with a time limit. A check that crashes or hangs becomes a finding itself. All checks end
within :data:`WITHIN` seconds.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import math
import os
import selectors
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from .. import __version__
from ..base.errors import BadMessage, Error, TailscaleError
from ..base.model import Peer, Snapshot
from ..base.names import Name
from ..directory.peer_memory import Memory, Standing
from ..dns.message import PTR, TXT, Message
from ..host.unix_socket import channel_path, connect, listener_of
from ..lookup.asked_peer import Ask, Outcome
from ..lookup.fanout import Lookup
from ..lookup.sockets import run
from ..networks.own_machine import is_own
from ..networks.settings import Settings
from ..networks.tailscale import Tailscale, snapshot, socket_path
from ..system import clock
from ..system.port_owner import held, owners_at, program_of
from . import network_findings, resolver_findings
from .finding import OK, Finding, fail, warn
from .network_findings import Asked, Live, Port
from .resolver_findings import Server

WITHIN: Final = 2.15  # seconds, so that md doctor takes less than three
_NETWORK: Final = 0.5
_PEERS: Final = 0.65
_KNOCK: Final = 0.2
_MOST_KNOCKS: Final = 64
_LIVE: Final = 1.2  # more than the second for which a registry waits for silent peers, so that its response names them
_BACK: Final = 0.2  # of that, for the round trip
_LOCAL: Final = 0.3
_TOLD: Final = 0.5  # for a program that only prints information
_DNS: Final = 53
_FORWARDER: Final = ("127.0.0.1", 5354)
_LOOPBACK: Final = "127.0.0.1"
_MOST_OCTETS: Final = 1 << 18

Check = Callable[[], Iterable[Finding]]


class _Task:
    """One check in its own thread. It always has a result."""

    def __init__(self, name: str, check: Check) -> None:
        self._name = name
        self._check = check
        self._found: list[Finding] = []
        # A resolver that hangs cannot be cancelled. A daemon thread does not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name=f"doctor {name}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._found = careful(self._name, self._check)

    def found(self, until: float) -> list[Finding]:
        """Waits until the time `until` (time.monotonic) and returns the findings."""
        self._thread.join(max(0.0, until - time.monotonic()))
        if self._thread.is_alive():
            return [warn(self._name, "this check did not finish in time", "run md doctor again")]
        return self._found


def careful(name: str, check: Check) -> list[Finding]:
    """Runs a check and returns its findings, or a finding that it failed."""
    try:
        return list(check())
    except Exception as error:  # our own bug must not hide the findings of other checks
        what = f"this check failed: {type(error).__name__}: {error}"
        return [fail(name, what, "this is a bug of mddns: please report it with the output of md doctor -o json")]


def examine(settings: Settings, memory: Memory, etc: str = "/etc") -> list[Finding]:
    """Returns all findings, in reading order. `memory` has the earlier behaviour of peers, `etc` is /etc."""
    until = time.monotonic() + WITHIN
    seen = _Seen(settings, memory, etc, until)
    # These checks depend on this machine's resolver, which may hang: they get the whole time.
    looking = _Task("resolution", seen.look_up)
    local = _Task("port53", seen.port_53)
    findings = _Task("network", seen.network).found(until)
    if seen.snapshot is not None:
        findings += careful("addresses", seen.addresses)
        findings += _Task("peers", seen.nodes).found(until)
    else:
        findings += _Task("port", seen.port_without_network).found(until)
        findings += careful("clock", seen.clock)
    findings += local.found(until)
    trouble = looking.found(until - _BACK)
    findings += (trouble if seen.resolved else []) or careful("resolution", seen.resolution)
    findings += careful("dnssec", seen.dnssec)
    return findings


class _Seen:
    """Collects the facts. Its methods are checks and may block."""

    def __init__(self, settings: Settings, memory: Memory, etc: str, until: float = math.inf) -> None:
        self.settings = settings
        self.memory = memory
        self.etc = etc
        self._until = until
        self.snapshot: Snapshot | None = None
        self.resolved = False  # whether the system's resolver has returned
        self._apex = str(settings.apex).rstrip(".")
        self._found: tuple[str, ...] = ()
        self._problem = "no answer in time"
        self._resolvectl: dict[str, str] = {}
        self._servers: list[Server] = []
        self._newest: tuple[int, str] | None = None

    # -- the network

    def network(self) -> Iterable[Finding]:
        """Reads the network: this node and its peers."""
        settings = self.settings
        if "tailscale" in settings.network_name.split():
            path, begun = socket_path(), time.monotonic()
            try:
                document = Tailscale(settings.port).status(_NETWORK)
                finding = network_findings.tailscaled(path, document, time.monotonic() - begun)
                if finding.state == OK and settings.specs in ((), ("tailscale",)) and settings.address is None:
                    self.snapshot = snapshot(document, settings.port)
            except TailscaleError as error:
                yield network_findings.no_tailscaled(path, error)
                return
            yield finding
            if self.snapshot is not None or finding.state != OK:
                return
        try:
            self.snapshot = settings.network.read(_NETWORK)
        except Error as error:
            yield network_findings.no_network(settings.network_name, str(error))
            return
        yield network_findings.network(settings.network_name, self.snapshot)

    def addresses(self) -> Iterable[Finding]:
        """Checks this machine's own addresses."""
        if self.snapshot is not None:
            me = self.snapshot.me
            yield network_findings.addresses(
                self.snapshot, {each: is_own(each) for each in (me.addresses if me else ())}
            )

    def nodes(self) -> Iterable[Finding]:
        """Queries the nodes: checks the port, the peers, their versions, a query for all services, and the clock."""
        seen = self.snapshot
        if seen is None:
            return
        others = [peer for peer in seen.peers if peer.asked]
        me = seen.me
        if me is not None and not seen.tun:
            me = Peer(me.name, (_LOOPBACK,), me.port)  # where a registry listens in userspace networking
        everybody = [*([me] if me else []), *others]
        # Started first: with silent peers, a registry needs as long for this as all other checks together.
        own = (
            me and _met(me.addresses[0], me.port)[0] and _Task("live", lambda: [network_findings.live(self._live(me))])
        )
        asked = [self._asked(ask) for ask in self._ask(b"_mddns", TXT, everybody, min(self.settings.timeout, _PEERS))]
        quiet = [each.peer for each in asked if each.outcome == Outcome.SILENT.value and each.peer.online]
        refusing = _refusing(quiet[:_MOST_KNOCKS], _KNOCK)
        asked = [each._replace(outcome="refused") if each.peer.id in refusing else each for each in asked]
        mine = [each for each in asked if each.peer is me]
        if me is not None:
            address, answers = me.addresses[0], any(each.outcome == "answered" for each in mine)
            yield from careful("port", lambda: [self._port(address, me.port, answers)])
        theirs = [each for each in asked if each.peer is not me]
        yield from careful("peers", lambda: [network_findings.peers(theirs, seen.network, seen.tun)])
        yield from careful("versions", lambda: [network_findings.versions(asked, __version__)])
        if own and any(each.outcome == "answered" for each in mine):
            yield from own.found(self._until)
        else:
            answered = [*(each for each in mine if each.outcome == "answered"), *_by_rtt(theirs)]
            silent = tuple(each.peer.shown for each in theirs if each.outcome == Outcome.SILENT.value)
            asked_live = answered[0].peer if answered else None
            yield from careful("live", lambda: [network_findings.live(asked_live and self._live(asked_live), silent)])
        yield from careful("clock", self.clock)

    def port_without_network(self) -> Iterable[Finding]:
        """Finds the program that holds our port at any address, when our own address is not known."""
        number = self.settings.port
        away = []
        for each in held("udp", number) or ():
            address = each.address if each.address not in resolver_findings.ANY else _LOOPBACK
            if is_own(address):
                yield self._port(address, number, self._answers([(address, number)]) != set())
            else:
                away.append((address, each.owners))
        if away:
            yield network_findings.port_away([address for address, _ in away], number, away[0][1])

    def _port(self, address: str, number: int, answers: bool) -> Finding:
        meets, holder = _met(address, number)
        return network_findings.port(
            Port(
                address,
                number,
                owners_at("udp", address, number),
                owners_at("tcp", address, number),
                answers,
                meets,
                holder,
            )
        )

    def _live(self, peer: Peer) -> Live:
        # In userspace networking, no client gets merged responses from this machine, not even a local one.
        merged = self.snapshot is None or self.snapshot.tun or peer.addresses != (_LOOPBACK,)
        left = max(_BACK, self._until - time.monotonic() - _BACK)
        timeout = min(self.settings.timeout + _BACK, _LIVE, left)
        (ask,) = self._ask(b"_list", PTR, [peer], timeout, rd=merged)
        answer = ask.answer
        if answer is None:
            return Live(peer, ask.outcome.value)
        came = [(one.attributes.since, f"{one.instance}.{one.name}") for one in answer.told if one.attributes.since]
        self._newest = max(came, default=None)
        errors = tuple(f"EDE {code}{': ' if text else ''}{text}" for code, text in answer.errors)
        return Live(peer, ask.outcome.value, len(answer.told), ask.rtt, answer.failed, errors)

    def clock(self) -> Iterable[Finding]:
        """Compares our clock with the start times of services."""
        yield network_findings.clock(time.time(), self._newest)

    def _ask(self, label: bytes, qtype: int, peers: Sequence[Peer], timeout: float, *, rd: bool = False) -> list[Ask]:
        apex = self.settings.apex
        chosen = [(peer, Standing.REGISTRY) for peer in peers]
        lookup = Lookup(apex, Name.of((label,), apex).wire, qtype, chosen, clock.now(), timeout=timeout, rd=rd)
        run(lookup, clock.now)
        return lookup.asks

    def _asked(self, ask: Ask) -> Asked:
        now, peer = clock.now(), ask.peer
        known = self.memory.standing(peer.id, now) is Standing.REGISTRY or self.memory.gone(peer.id, now)
        outcome = ask.outcome.value if ask.outcome is not Outcome.PENDING else Outcome.SILENT.value
        return Asked(peer, outcome, ask.rtt, _version(ask), known)

    # -- this machine's resolver

    def look_up(self) -> Iterable[Finding]:
        """Looks up a name that every node answers, through the system's resolver."""
        if shutil.which("resolvectl"):
            for what in ("domain", "dnssec"):
                self._resolvectl[what] = _output(("resolvectl", "--no-pager", what))
        try:
            found = socket.getaddrinfo(f"ns.{self._apex}.", None, type=socket.SOCK_STREAM)
            self._found = tuple(dict.fromkeys(str(address[0]) for *_, address in found))
        except (OSError, UnicodeError) as error:
            self._problem = str(getattr(error, "strerror", None) or error)
        self.resolved = True
        return ()

    def port_53(self) -> Iterable[Finding]:
        """Finds the programs that hold port 53 on this machine, and the servers that answer for our zone."""
        places: dict[tuple[str, int], tuple[tuple[int, str], ...]] = {}
        for number in (_DNS, _FORWARDER[1]):
            for each in held("udp", number) or ():
                places[each.address, number] = each.owners
        if not places and held("udp", _DNS) is None:
            places = {(_LOOPBACK, _DNS): (), _FORWARDER: ()}  # a system that does not report socket owners
        asked = {place: (_LOOPBACK if place[0] in resolver_findings.ANY else place[0], place[1]) for place in places}
        ours = self._answers(asked.values())
        self._servers = [
            Server(*place, owners, asked[place] in ours)
            for place, owners in places.items()
            if place[1] == _DNS or asked[place] in ours
        ]
        yield resolver_findings.port_53(self._servers, self._apex)

    def _answers(self, places: Iterable[tuple[str, int]]) -> set[tuple[str, int]]:
        """Returns the servers that answer for our zone."""
        peers = [Peer("", (address,), number) for address, number in dict.fromkeys(places)]
        asks = self._ask(b"_mddns", TXT, peers, _LOCAL, rd=True) if peers else []
        return {(ask.peer.addresses[0], ask.peer.port) for ask in asks if _version(ask)}

    def resolution(self) -> Iterable[Finding]:
        """Checks whether the system's resolver sends queries for our zone to us."""
        everyone = self.snapshot.everyone() if self.snapshot else ()
        own = {address for peer in everyone for address in peer.addresses}
        conf = resolver_findings.read_resolv_conf(_text(os.path.join(self.etc, "resolv.conf")))
        domains = self._resolvectl.get("domain")
        facts = resolver_findings.Resolution(
            f"ns.{self._apex}", self._found, self._problem, conf, domains, sys.platform
        )
        yield resolver_findings.resolution(facts, own, self._servers)

    def dnssec(self) -> Iterable[Finding]:
        """Checks whether a resolver of this machine would reject our unsigned responses."""
        programs = {program for server in self._servers for program in server.programs}
        resolved = any(server.address in resolver_findings.RESOLVED for server in self._servers)
        # Only root sees the owners of sockets. Without them, any configured resolver counts as running.
        unknown = any(not server.owners for server in self._servers if server.address not in resolver_findings.RESOLVED)
        unbound = "unbound" in programs or (unknown and os.path.exists(os.path.join(self.etc, "unbound")))
        yield resolver_findings.dnssec(
            self._apex,
            resolver_findings.Validators(
                self._texts("systemd/resolved.conf", "systemd/resolved.conf.d/*.conf") if resolved else None,
                self._resolvectl.get("dnssec", ""),
                resolver_findings.negative_anchors([self._texts("dnssec-trust-anchors.d/*.negative")]),
                self._texts(*_UNBOUND) if unbound else None,
            ),
        )

    def _texts(self, *patterns: str) -> str:
        files = [path for pattern in patterns for path in sorted(glob.glob(os.path.join(self.etc, pattern)))]
        return "\n".join(_text(path) for path in files)


_UNBOUND: Final = ("unbound/unbound.conf", "unbound/*.d/*.conf")


def _refusing(peers: Iterable[Peer], timeout: float) -> set[str]:
    """Returns the ids of the peers where no process listens, found by TCP.

    Kernels ration what tells of a UDP port where nobody is: who was asked a moment ago seems silent. TCP's refusals
    they do not ration.
    """
    refusing = set()
    until = time.monotonic() + timeout
    with selectors.DefaultSelector() as selector, contextlib.ExitStack() as stack:
        for peer in peers:
            address = peer.route[0]
            line = stack.enter_context(socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET))
            line.setblocking(False)
            line.connect_ex((address, peer.port))
            selector.register(line, selectors.EVENT_WRITE, peer.id)
        while selector.get_map() and (left := until - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                selector.unregister(key.fileobj)
                if isinstance(key.fileobj, socket.socket):
                    error = key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    refusing |= {key.data} if error == errno.ECONNREFUSED else set()
    return refusing


def _by_rtt(asked: Iterable[Asked]) -> list[Asked]:
    answered = [each for each in asked if each.outcome == "answered"]
    return sorted(answered, key=lambda each: each.rtt if each.rtt is not None else 1.0)


def _version(ask: Ask) -> str:
    """Returns the version that a peer has at ``_mddns``; "" if there is none."""
    if ask.message is None:
        return ""
    try:
        message = Message(ask.message)
        strings = [text for record in message.answer if record.rtype == TXT for text in message.strings(record)]
    except BadMessage:
        return ""
    return b" ".join(strings).decode("utf-8", "replace")[:80]


def _met(address: str, number: int) -> tuple[bool, tuple[int, str] | None]:
    """Returns whether a holder accepts tenants there, with its pid and name. Closes the connection at once."""
    try:
        line = connect(channel_path(address, number))
    except BlockingIOError:
        return True, None
    if line is None:
        return False, None
    with line:
        pid = listener_of(line)
    with contextlib.suppress(OSError):
        return True, (pid, program_of(pid)) if pid else None
    return True, None


def _output(argv: Sequence[str]) -> str:
    """Returns the output of a program; "" if it fails or takes too long."""
    try:
        done = subprocess.run(  # noqa: S603 - our own words
            argv, capture_output=True, text=True, errors="replace", timeout=_TOLD, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _text(path: str) -> str:
    """Returns the text of a file in /etc; "" if it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(_MOST_OCTETS).removeprefix("\ufeff")
    except OSError:
        return ""
