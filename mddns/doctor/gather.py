"""What is wrong with this machine's part of the network: gathers facts, and has them judged.

Nothing is changed. Each check is a thread with a limit, and one that
crashes or hangs is a finding itself; all of them end within :data:`WITHIN` seconds.
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
_LIVE: Final = 1.2  # more than the second that a registry waits for silent peers, so that it tells who they are
_BACK: Final = 0.2  # of that, for the way
_LOCAL: Final = 0.3
_TOLD: Final = 0.5  # for a program that only tells something
_DNS: Final = 53
_FORWARDER: Final = ("127.0.0.1", 5354)
_LOOPBACK: Final = "127.0.0.1"
_MOST_OCTETS: Final = 1 << 18

Check = Callable[[], Iterable[Finding]]


class _Task:
    """One check, in a thread of its own: what it found, whatever happens."""

    def __init__(self, name: str, check: Check) -> None:
        self._name = name
        self._check = check
        self._found: list[Finding] = []
        # A resolver that hangs cannot be called off, and must not keep anybody from ending.
        self._thread = threading.Thread(target=self._run, name=f"doctor {name}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._found = careful(self._name, self._check)

    def found(self, until: float) -> list[Finding]:
        """Its findings, waited for until then (time.monotonic)."""
        self._thread.join(max(0.0, until - time.monotonic()))
        if self._thread.is_alive():
            return [warn(self._name, "this check came to no end in time", "md doctor, once more")]
        return self._found


def careful(name: str, check: Check) -> list[Finding]:
    """What a check finds; that it failed, where it does."""
    try:
        return list(check())
    except Exception as error:  # a fault of ours must not hide what the other checks found
        what = f"this check failed: {type(error).__name__}: {error}"
        return [fail(name, what, "md doctor -o json, and report what it prints: this is a fault of mddns")]


def examine(settings: Settings, memory: Memory, etc: str = "/etc") -> list[Finding]:
    """All findings, in the order in which people read them. `memory` is how peers behaved before, `etc` is /etc."""
    until = time.monotonic() + WITHIN
    seen = _Seen(settings, memory, etc, until)
    # What may hang is a matter of this machine's resolver: it has all the time that there is.
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
    """The facts, as they come in. Its methods are checks: they may block."""

    def __init__(self, settings: Settings, memory: Memory, etc: str, until: float = math.inf) -> None:
        self.settings = settings
        self.memory = memory
        self.etc = etc
        self._until = until
        self.snapshot: Snapshot | None = None
        self.resolved = False  # whether the system's resolver has come back to us
        self._apex = str(settings.apex).rstrip(".")
        self._found: tuple[str, ...] = ()
        self._problem = "no answer in time"
        self._resolvectl: dict[str, str] = {}
        self._servers: list[Server] = []
        self._newest: tuple[int, str] | None = None

    # -- the network

    def network(self) -> Iterable[Finding]:
        """Who we are and who our peers are."""
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
        """Our own addresses."""
        if self.snapshot is not None:
            me = self.snapshot.me
            yield network_findings.addresses(
                self.snapshot, {each: is_own(each) for each in (me.addresses if me else ())}
            )

    def nodes(self) -> Iterable[Finding]:
        """All that is learned by asking the nodes: the port, the peers, versions, a live query, the clock."""
        seen = self.snapshot
        if seen is None:
            return
        others = [peer for peer in seen.peers if peer.asked]
        me = seen.me
        if me is not None and not seen.tun:
            me = Peer(me.name, (_LOOPBACK,), me.port)  # where a registry is in userspace networking
        everybody = [*([me] if me else []), *others]
        # Asked at once: with silent peers it takes a registry as long as all the rest takes us.
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
        """Who has our port, at whatever address, where our own is not known."""
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
        # In userspace networking nobody gets merged answers of this machine, its own programs included.
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
        """Our clock, beside when services came up."""
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
        """Asks the system's resolver for a name that every node answers."""
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
        """Who has port 53 on this machine, and where somebody answers for our zone."""
        places: dict[tuple[str, int], tuple[tuple[int, str], ...]] = {}
        for number in (_DNS, _FORWARDER[1]):
            for each in held("udp", number) or ():
                places[each.address, number] = each.owners
        if not places and held("udp", _DNS) is None:
            places = {(_LOOPBACK, _DNS): (), _FORWARDER: ()}  # a system that does not tell who has what
        asked = {place: (_LOOPBACK if place[0] in resolver_findings.ANY else place[0], place[1]) for place in places}
        ours = self._answers(asked.values())
        self._servers = [
            Server(*place, owners, asked[place] in ours)
            for place, owners in places.items()
            if place[1] == _DNS or asked[place] in ours
        ]
        yield resolver_findings.port_53(self._servers, self._apex)

    def _answers(self, places: Iterable[tuple[str, int]]) -> set[tuple[str, int]]:
        """Those who answer for our zone."""
        peers = [Peer("", (address,), number) for address, number in dict.fromkeys(places)]
        asks = self._ask(b"_mddns", TXT, peers, _LOCAL, rd=True) if peers else []
        return {(ask.peer.addresses[0], ask.peer.port) for ask in asks if _version(ask)}

    def resolution(self) -> Iterable[Finding]:
        """Whether names of ours come to us."""
        everyone = self.snapshot.everyone() if self.snapshot else ()
        own = {address for peer in everyone for address in peer.addresses}
        conf = resolver_findings.read_resolv_conf(_text(os.path.join(self.etc, "resolv.conf")))
        domains = self._resolvectl.get("domain")
        facts = resolver_findings.Resolution(
            f"ns.{self._apex}", self._found, self._problem, conf, domains, sys.platform
        )
        yield resolver_findings.resolution(facts, own, self._servers)

    def dnssec(self) -> Iterable[Finding]:
        """Whether a resolver of this machine takes our answers for forged."""
        programs = {program for server in self._servers for program in server.programs}
        resolved = any(server.address in resolver_findings.RESOLVED for server in self._servers)
        # Whose the sockets are is told to root alone: then whatever is configured counts.
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
    """The ids of those where nobody listens, by TCP.

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
    """What a peer says of itself at ``_mddns``; "" where it says nothing."""
    if ask.message is None:
        return ""
    try:
        message = Message(ask.message)
        strings = [text for record in message.answer if record.rtype == TXT for text in message.strings(record)]
    except BadMessage:
        return ""
    return b" ".join(strings).decode("utf-8", "replace")[:80]


def _met(address: str, number: int) -> tuple[bool, tuple[int, str] | None]:
    """Whether processes of this host meet a holder there, and its pid and name. It is let go at once."""
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
    """What a program prints; "" where it fails or takes too long."""
    try:
        done = subprocess.run(  # noqa: S603 - our own words
            argv, capture_output=True, text=True, errors="replace", timeout=_TOLD, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _text(path: str) -> str:
    """A file of /etc; "" where it cannot be read."""
    try:
        with open(path, encoding="utf-8-sig", errors="replace") as file:
            return file.read(_MOST_OCTETS)
    except OSError:
        return ""
