"""Judges facts about the network for ``md doctor``: facts in, findings out. gather.py does the I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from ..base.errors import TailscaleError
from ..base.model import Peer, Snapshot
from ..zone.apex import VERSION
from .finding import Finding, fail, ok, some, warn

YEAR_2024: Final = 1_704_067_200
MOST_BEHIND: Final = 60.0  # seconds; with a larger difference a later service may become leader
_STATES: Final = {
    "Stopped": "sudo tailscale up",
    "NeedsLogin": "sudo tailscale up",
    "NeedsMachineAuth": "approve this machine at https://login.tailscale.com/admin/machines",
    "InUseOtherUser": "sudo tailscale up",
}
# Sources and destinations of the grant, as in the README.
_MEMBERS: Final = ("autogroup:member", "autogroup:tagged")


def grant(port: int) -> str:
    """Returns the entry that the ``grants`` of the tailnet's policy need, as JSON."""
    ip = [f"udp:{port}", f"tcp:{port}"]
    return json.dumps({"src": _MEMBERS, "dst": _MEMBERS, "ip": ip})


# --- who we are -------------------------------------------------------------------------------------------------------


def tailscaled(path: str, document: Mapping[str, Any], took: float) -> Finding:
    """Judges a daemon that has returned its status."""
    version, state = str(document.get("Version") or "?"), str(document.get("BackendState"))
    data: dict[str, Any] = {"socket": path, "version": version, "state": state}
    told = f"tailscaled {version} at {path}: {state}"
    if state == "Running":
        return ok("tailscaled", f"{told}, answered in {took * 1000:.0f} ms", **data)
    return fail("tailscaled", told, _STATES.get(state, "sleep 5; md doctor"), unasked=True, **data)


def no_tailscaled(path: str, error: TailscaleError) -> Finding:
    """Judges a daemon that could not be queried."""
    cause = error.__cause__
    if isinstance(cause, PermissionError):
        fix = f"sudo chmod 0666 {path}"
    elif isinstance(cause, FileNotFoundError):
        fix = "sudo systemctl start tailscaled"
    elif "403" in str(error):
        fix = "sudo tailscale set --operator=$USER"
    else:
        fix = "sudo systemctl restart tailscaled"
    return fail("tailscaled", str(error), fix, unasked=True, socket=path, version=None, state=None)


def network(name: str, snapshot: Snapshot) -> Finding:
    """Reports a network that was read."""
    count = len(snapshot.peers)
    return ok("network", f"{name}: {count} other node{'' if count == 1 else 's'}", nodes=count)


def no_network(name: str, problem: str) -> Finding:
    """Reports a network that could not be read, for another reason than its daemon."""
    return fail("network", f"{name}: {problem}", "md --network static:ADDRESS,… doctor", unasked=True)


def addresses(snapshot: Snapshot, bindable: Mapping[str, bool]) -> Finding:
    """Judges our own addresses. `bindable` tells for each whether a socket can be bound to it."""
    me = snapshot.me
    if me is None:
        fix = "md --address ADDRESS doctor, or name this machine's own address in --network"
        return warn(
            "addresses", "this machine is not a node of the network: it can find services, but not offer any", fix
        )
    data: dict[str, Any] = {"addresses": list(me.addresses), "tun": snapshot.tun, "host": me.name}
    who = f"{me.name + ' ' if me.name else ''}{', '.join(me.addresses)}"
    if not snapshot.tun:
        return warn(
            "addresses",
            f"{who}: tailscaled runs in userspace networking, so only it can use them. This machine can offer "
            "services, through 127.0.0.1, but it cannot find services of other machines",
            "start tailscaled without --tun=userspace-networking; start the container image with TS_USERSPACE=false, "
            "--device /dev/net/tun and --cap-add NET_ADMIN",
            **data,
        )
    missing = [address for address in me.addresses if not bindable.get(address)]
    if missing:
        fix = "ip address; sudo systemctl restart tailscaled" if snapshot.network == "tailscale" else "ip address"
        return fail(
            "addresses", f"{who}: {', '.join(missing)} cannot be bound: no network interface has it", fix, **data
        )
    return ok("addresses", who, **data)


# --- our port ---------------------------------------------------------------------------------------------------------


class Port(NamedTuple):
    """The processes that hold our port at our own address: None if there is none, () if they are not known.

    ``answers``: a server answers DNS for our zone there. ``meets``: a holder accepts tenants there; ``holder`` is its
    pid and name, if known. Other processes with the same port are its tenants.
    """

    address: str
    port: int
    udp: tuple[tuple[int, str], ...] | None
    tcp: tuple[tuple[int, str], ...] | None
    answers: bool
    meets: bool
    holder: tuple[int, str] | None = None

    @property
    def tenants(self) -> tuple[tuple[int, str], ...]:
        """The processes that share the port with the holder."""
        return tuple(owner for owner in self.udp or () if self.holder and owner[0] != self.holder[0])


def port(facts: Port) -> Finding:
    """Judges the port: a registry holds it, another program holds it, or it is free."""
    where = f"{facts.address}:{facts.port}"
    data: dict[str, Any] = {
        "address": facts.address,
        "port": facts.port,
        "udp": _owners(facts.udp),
        "tcp": _owners(facts.tcp),
        "registry": facts.answers,
        "holder": _owner(facts.holder) if facts.holder else None,
        "tenants": _owners(facts.tenants),
    }
    if facts.answers:
        return _our_port(where, facts, data)
    if facts.udp is not None and facts.meets:
        # A tenant takes over when the holder ends, so do not kill the tenants.
        ended = (facts.holder,) if facts.holder else facts.udp
        what = f"a registry holds UDP {where}{_told(ended)} but does not answer"
        return fail("port", what, _end(ended, facts.port, "kill -9"), **data)
    for kind, owners in (("UDP", facts.udp), ("TCP", facts.tcp)):
        if owners is not None:
            what = f"another program holds {kind} {where}{_told(owners)}"
            if kind == "UDP":
                return fail("port", f"{what}: this machine cannot offer services", _end(owners, facts.port), **data)
            return warn("port", f"{what}: responses too long for UDP fail", _end(owners, facts.port), **data)
    return ok("port", f"no program holds {where}, UDP or TCP: this machine offers nothing", **data)


def port_away(addresses: Sequence[str], number: int, owners: tuple[tuple[int, str], ...]) -> Finding:
    """Reports a port holder whose addresses are gone with the network. It waits for them, so nothing is wrong."""
    data = {"address": addresses[0], "port": number, "udp": _owners(owners), "tcp": None, "registry": False}
    gone = f"no network interface has {' and '.join(addresses)} now"
    return ok(
        "port",
        f"{gone}: the program with port {number} there{_told(owners)} answers again when the address is back",
        **data,
    )


def _our_port(where: str, facts: Port, data: dict[str, Any]) -> Finding:
    what = f"a registry answers at {where}{_told((facts.holder,) if facts.holder else facts.udp or ())}"
    if facts.tenants:
        count = len(facts.tenants)
        what += f"; it answers for {count} tenant{'s' if count > 1 else ''} too{_told(facts.tenants)}"
    ours = {pid for pid, _ in facts.udp or ()}
    strangers = tuple(owner for owner in facts.tcp or () if ours and owner[0] not in ours)
    if strangers and len(strangers) == len(facts.tcp or ()):
        told = f"{what}, but another program holds TCP{_told(strangers)}: responses too long for UDP fail"
        return warn("port", told, _end(strangers, facts.port), **data)
    return ok("port", what, **data)


def _told(owners: Sequence[tuple[int, str]]) -> str:
    if not owners:
        return ""
    return f" ({some((f'{name} pid {pid}' for pid, name in owners), 3)})"


def _owners(owners: Sequence[tuple[int, str]] | None) -> list[dict[str, Any]] | None:
    return None if owners is None else [_owner(each) for each in owners]


def _owner(owner: tuple[int, str]) -> dict[str, Any]:
    return {"pid": owner[0], "program": owner[1]}


def _end(owners: Sequence[tuple[int, str]], number: int, how: str = "kill") -> str:
    end = f"sudo {how} {' '.join(str(pid) for pid, _ in owners)}" if owners else f"sudo ss -lntup sport = :{number}"
    return f"{end}; or use another port on all nodes: --port"


# --- everybody else ---------------------------------------------------------------------------------------------------


class Asked(NamedTuple):
    """One peer that was queried. ``outcome`` is answered, refused or silent; ``version`` is its TXT at ``_mddns``.

    ``rtt`` is in seconds; ``known``: it was a registry before.
    """

    peer: Peer
    outcome: str
    rtt: float | None = None
    version: str = ""
    known: bool = False


def peers(asked: Sequence[Asked], network: str, tun: bool) -> Finding:
    """Judges which peers answered, refused, or were silent."""
    answered, refused, silent = ([each for each in asked if each.outcome == name] for name in _OUTCOMES)
    data = {name: [_peer(each) for each in asked if each.outcome == name] for name in _OUTCOMES}
    if not asked:
        return ok("peers", "there is no other node", asked=0, **data)
    parts = []
    if answered:
        parts.append(f"{len(answered)} answered: {some(map(_with_rtt, answered))}")
    if refused:
        parts.append(f"{len(refused)} without a registry: {some(each.peer.shown for each in refused)}")
    if silent:
        parts.append(f"{len(silent)} silent: {some(map(_with_past, silent))}")
    what = f"{len(asked)} queried; {'; '.join(parts)}"
    data["asked"] = len(asked)  # type: ignore[assignment]
    missed = [each for each in silent if each.known or each.peer.online]
    if not tun and missed:
        fix = "run tailscaled with a TUN device; see the check 'addresses'"
        return fail("peers", f"{what}. Userspace networking cannot reach them", fix, unasked=not answered, **data)
    if not missed:
        return ok("peers", what, **data)
    fix = _open_up(missed, network)
    if not answered and not refused:
        return fail("peers", f"{what}. No peer can be reached", fix, unasked=True, **data)
    return warn("peers", f"{what}. A firewall or policy probably blocks the silent peers that are up", fix, **data)


_OUTCOMES: Final = ("answered", "refused", "silent")


def _open_up(silent: Sequence[Asked], network: str) -> str:
    number = silent[0].peer.port
    if "tailscale" in network:
        return f"add to the grants of the tailnet's policy, https://login.tailscale.com/admin/acls: {grant(number)}"
    ports = sorted({each.peer.port for each in silent})
    where = some(each.peer.shown for each in silent)
    return f"allow incoming UDP and TCP {', '.join(map(str, ports))} on {where}, for example: sudo ufw allow {number}"


def _with_rtt(each: Asked) -> str:
    return each.peer.shown if each.rtt is None else f"{each.peer.shown} {each.rtt * 1000:.1f} ms"


def _with_past(each: Asked) -> str:
    past = "was a registry" if each.known else "" if each.peer.online else "offline"
    return f"{each.peer.shown} ({past})" if past else each.peer.shown


def _peer(each: Asked) -> dict[str, Any]:
    return {
        "peer": each.peer.shown,
        "address": each.peer.addresses[0],
        "rttMs": None if each.rtt is None else round(each.rtt * 1000, 2),
        "version": each.version or None,
        "knownRegistry": each.known,
        "online": each.peer.online,
    }


def versions(asked: Sequence[Asked], own: str) -> Finding:
    """Judges whether all registries use our protocol version. `own` is the version of this program."""
    ours = VERSION.decode()
    by_version: dict[str, list[str]] = {}
    for each in asked:
        if each.outcome == "answered":
            by_version.setdefault(each.version or "none", []).append(each.peer.shown)
    data = {"program": own, "protocol": ours, "peers": by_version}
    others = {version: names for version, names in by_version.items() if version != ours}
    if not others:
        count = len(by_version.get(ours, ()))
        return ok("versions", f"md {own}, {ours}; {count} registr{'y uses' if count == 1 else 'ies use'} it", **data)
    told = "; ".join(f"{version}: {some(names)}" for version, names in others.items())
    return warn(
        "versions", f"md {own} uses {ours}, others use {told}", "pipx upgrade minidisc-dns, on the older nodes", **data
    )


class Live(NamedTuple):
    """A query for the whole network (RD=1, ``_list``) to one registry, and its result.

    ``errors`` are Extended DNS Errors; ``newest`` is the latest md.since of the services, in Unix ms, and its host.
    """

    peer: Peer
    outcome: str
    services: int = 0
    took: float | None = None
    failed: bool = False
    errors: tuple[str, ...] = ()
    newest: tuple[int, str] | None = None


def live(facts: Live | None, silent: Sequence[str] = ()) -> Finding:
    """Judges whether a registry answers for the whole network. `silent` are peers for which it may have to wait."""
    if facts is None:
        what = "no node offers a service, so there is no registry to query; 'md advertise NAME :PORT' offers one"
        return ok("live", what, services=0, asked=None)
    data: dict[str, Any] = {"services": facts.services, "asked": facts.peer.id, "errors": list(facts.errors)}
    where = f"{facts.peer.shown} ({facts.peer.id})"
    ask_again = f"dig @{facts.peer.addresses[0]} -p {facts.peer.port} _list.minidisc PTR"
    if facts.outcome == "silent" and silent:
        what = f"{where} has not answered for the whole network yet: it waits for the silent {some(silent)}"
        return warn("live", what, ask_again, **data)
    if facts.outcome != "answered" or facts.failed:
        said = f" ({'; '.join(facts.errors)})" if facts.errors else ""
        return fail("live", f"{where} gave no answer for the whole network{said}", ask_again, **data)
    count = f"{facts.services} service{'' if facts.services == 1 else 's'}"
    took = "" if facts.took is None else f" in {facts.took * 1000:.1f} ms"
    if facts.errors:
        return warn("live", f"{where} returned {count}{took}, not all: {'; '.join(facts.errors)}", ask_again, **data)
    return ok("live", f"{where} returned {count}{took}", **data)


def clock(unix: float, newest: tuple[int, str] | None) -> Finding:
    """Judges our clock, as leaders are chosen by the start times of services. `unix` is now, in seconds."""
    fix = "sudo timedatectl set-ntp true"
    if unix < YEAR_2024:
        return fail("clock", "this machine's clock is before 2024", fix, behindSeconds=None)
    if newest is None:
        return ok("clock", "there is no service to compare the clock with", behindSeconds=None)
    behind = round(newest[0] / 1000 - unix, 1)
    if behind > MOST_BEHIND:
        what = f"this machine's clock is {behind:.0f} s behind that of {newest[1]}, or that one is ahead"
        return warn("clock", what, f"{fix}, on both machines", behindSeconds=behind)
    return ok("clock", "no service has a start time in the future", behindSeconds=None)
