"""Judges this machine's resolver for ``md doctor``: whether it sends queries for our zone to us."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final, NamedTuple

from .finding import Finding, fail, ok, some, warn

RESOLVED: Final = ("127.0.0.53", "127.0.0.54")
MAGIC_DNS: Final = "100.100.100.100"
# Unsigned by default in systemd-resolved (RFC 7646; its dns_trust_anchor_add_builtin_negative).
_UNSIGNED: Final = ("internal", "home.arpa", "lan", "local", "private", "intranet", "corp", "home", "test")
ANY: Final = ("0.0.0.0", "::")
# The command that makes a resolver forward our zone, by the name of its program.
_SETUP: Final = {
    "dnsmasq": "sudo md setup dnsmasq --apply",
    "unbound": "sudo md setup unbound --apply",
    "coredns": "md setup coredns",
}
_FORWARDER: Final = "127.0.0.1:5354"


class Server(NamedTuple):
    """A DNS server on this machine: its address, its programs (none if unknown), and whether it serves our zone."""

    address: str
    port: int
    owners: tuple[tuple[int, str], ...] = ()
    ours: bool = False

    @property
    def programs(self) -> set[str]:
        """The names of its programs."""
        return {name for _, name in self.owners}


class ResolvConf(NamedTuple):
    """The parts of resolv.conf(5) that matter here."""

    nameservers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()


def read_resolv_conf(text: str) -> ResolvConf:
    """Reads resolv.conf as glibc does: the last ``search`` counts."""
    servers: list[str] = []
    search: tuple[str, ...] = ()
    for line in text.splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            servers.append(words[1])
        elif len(words) > 1 and words[0] in ("search", "domain"):
            search = tuple(words[1:])
    return ResolvConf(tuple(servers), search)


def port_53(servers: Sequence[Server], apex: str) -> Finding:
    """Reports the programs with port 53, and where a forwarder answers for our zone."""
    data = {
        "servers": [
            {
                "address": each.address,
                "port": each.port,
                "owners": [{"pid": pid, "program": name} for pid, name in each.owners],
                "ours": each.ours,
            }
            for each in servers
        ]
    }
    if not servers:
        return ok("port53", f"no program holds port 53; {_free()}", **data)
    told = some(_described(each, apex) for each in servers)
    if any(each.ours for each in servers):
        return ok("port53", told, **data)
    taken = any(each.address in ("0.0.0.0", "::", "127.0.0.1") and each.port == 53 for each in servers)
    free = f"'md forward' would use {_FORWARDER}" if taken else _free()
    return ok("port53", f"{told}; no server answers for {apex}; {free}", **data)


def _free() -> str:
    return "'md forward' would use 127.0.0.1:53, as root"


def _described(server: Server, apex: str) -> str:
    who = some((f"{name} pid {pid}" for pid, name in server.owners), 2)
    parts = [*([who] if who else []), *([f"answers for {apex}"] if server.ours else [])]
    where = f"{server.address}:{server.port}" if ":" not in server.address else f"[{server.address}]:{server.port}"
    return f"{where} ({'; '.join(parts)})" if parts else where


class Resolution(NamedTuple):
    """The response of the system's resolver for ``ns.<apex>``: ``found`` addresses, else the ``problem``.

    ``resolved`` is the output of ``resolvectl domain``; None if there is none.
    """

    name: str
    found: tuple[str, ...]
    problem: str
    conf: ResolvConf
    resolved: str | None = None
    platform: str = "linux"


def resolution(facts: Resolution, own: Collection[str], servers: Sequence[Server]) -> Finding:
    """Judges whether the system's resolver sends our names to us. `own` are the addresses of the network's nodes."""
    apex = facts.name.partition(".")[2]
    data: dict[str, Any] = {
        "name": facts.name,
        "addresses": list(facts.found),
        "nameservers": list(facts.conf.nameservers),
        "search": list(facts.conf.search),
    }
    by = f"nameserver {', '.join(facts.conf.nameservers)}" if facts.conf.nameservers else "resolv.conf names no server"
    fix = _way(apex, facts.conf.nameservers, servers, facts.platform)
    if facts.found and any(address in own or address.startswith("127.") or address == "::1" for address in facts.found):
        return ok("resolution", f"the system finds {facts.name}: {', '.join(facts.found)} ({by})", **data)
    if facts.found:
        what = f"another DNS server answers for {apex}: {facts.name} is {some(facts.found)} ({by})"
        return fail("resolution", what, fix, **data)
    routed = facts.resolved is not None and re.search(rf"(?:^|[\s~]){re.escape(apex)}(?:\s|$)", facts.resolved)
    if routed:
        by += f"; systemd-resolved forwards {apex}"
        forwarding = any(each.ours and each.address not in RESOLVED for each in servers)
        fix = f"resolvectl query {facts.name}" if forwarding else _forward(facts.conf.nameservers)
    what = f"the system does not find {facts.name}: {facts.problem} ({by})"
    return warn("resolution", what, fix, **data)


def _forward(nameservers: Sequence[str]) -> str:
    """Returns the command of a forwarder behind the current resolver; systemd-resolved may send it other names too."""
    behind = any(address in RESOLVED for address in nameservers)
    upstreams = " --resolv-conf /run/systemd/resolve/resolv.conf" if behind else ""
    return f"md forward --listen {_FORWARDER}{upstreams}"


def _is_asked(server: Server, nameservers: Sequence[str]) -> bool:
    """Whether programs of this machine use this resolver. Some are for others: libvirt runs one for its guests."""
    here = any(address.startswith("127.") or address == "::1" for address in nameservers)
    return server.port == 53 and not server.ours and (server.address in nameservers or (here and server.address in ANY))


def _way(apex: str, nameservers: Sequence[str], servers: Sequence[Server], platform: str) -> str:
    """Returns the commands that make the current resolver find our names."""
    forward = _forward(nameservers)
    if platform == "darwin":
        return f"{forward}\nsudo md setup macos --apply"
    if any(address in RESOLVED for address in nameservers):
        return f"{forward}\nsudo md setup resolved --apply"
    asked = [program for server in servers if _is_asked(server, nameservers) for program in server.programs]
    if not asked and any(_is_asked(server, nameservers) for server in servers):
        return "sudo md doctor, as root sees which program holds port 53"
    if asked:
        by_hand = f"configure {asked[0]} to forward {apex} to {_FORWARDER}: see docs/clients"
        return f"{forward}\n{_SETUP.get(asked[0], by_hand)}"
    if MAGIC_DNS in nameservers:
        return "md setup tailscale, or md setup headscale"
    return "sudo md forward\nsudo sed -i '1i nameserver 127.0.0.1' /etc/resolv.conf"


# --- DNSSEC -----------------------------------------------------------------------------------------------------------


class Validators(NamedTuple):
    """The configurations of resolvers that may validate; None if one does not run here.

    ``resolvectl`` is the output of ``resolvectl dnssec``; ``negative`` are the names in *.negative files.
    """

    resolved: str | None = None
    resolvectl: str = ""
    negative: tuple[str, ...] = ()
    unbound: str | None = None


def dnssec(apex: str, facts: Validators) -> Finding:
    """Judges whether a validating resolver would reject our unsigned responses."""
    checked = [
        name for name, text in (("systemd-resolved", facts.resolved), ("unbound", facts.unbound)) if text is not None
    ]
    if facts.resolved is not None:
        mode = _resolved_mode(facts.resolved, facts.resolvectl)
        if mode not in ("no", "") and not is_below(apex, (*_UNSIGNED, *facts.negative)):
            what = f"systemd-resolved has DNSSEC={mode}, so it rejects the unsigned responses for {apex}"
            fix = (
                f"sudo mkdir -p /etc/dnssec-trust-anchors.d; echo {apex} | sudo tee "
                "/etc/dnssec-trust-anchors.d/mddns.negative; sudo systemctl restart systemd-resolved"
            )
            return warn("dnssec", what, fix, validators=checked)
    if facts.unbound is not None and unbound_distrusts(apex, facts.unbound):
        what = f"unbound validates and forwards {apex}, but has no domain-insecure for it"
        return warn("dnssec", what, "sudo md setup unbound --apply", validators=checked)
    told = f"{some(checked)} accept{'s' if len(checked) == 1 else ''} our unsigned names" if checked else ""
    return ok("dnssec", told or "no validating resolver was found", validators=checked)


def _resolved_mode(conf: str, resolvectl: str) -> str:
    """Returns ``yes``, ``allow-downgrade``, ``no`` or "": the running mode, else the last configured DNSSEC=."""
    found = re.findall(r"(?m)^Global:\s*(\S+)", resolvectl) or re.findall(r"(?m)^\s*DNSSEC\s*=\s*(\S*)", conf)
    mode = found[-1].lower() if found else ""
    return {"true": "yes", "1": "yes", "on": "yes", "false": "no", "0": "no", "off": "no"}.get(mode, mode)


def negative_anchors(texts: Iterable[str]) -> tuple[str, ...]:
    """Returns the names in *.negative files (dnssec-trust-anchors.d(5)): one per line, ``;`` begins a comment."""
    lines = (line.strip() for text in texts for line in text.splitlines())
    return tuple(line for line in lines if line and line[0] not in ";#")


def is_below(name: str, tops: Iterable[str]) -> bool:
    """Whether a name is one of `tops`, or below one."""
    name = f".{name.strip('.').lower()}"
    return any(name.endswith(f".{top.strip('.').lower()}") for top in tops if top.strip("."))


def unbound_distrusts(apex: str, conf: str) -> bool:
    """Whether unbound with this configuration forwards queries for `apex` and validates the responses."""
    told: dict[str, list[str]] = {}
    for line in conf.splitlines():
        key, colon, value = line.partition("#")[0].partition(":")
        if colon and value.strip():
            told.setdefault(key.strip(), []).append(value.strip().strip('"'))
    validates = any("validator" in each for each in told.get("module-config", ["validator iterator"]))
    anchored = any(key in told for key in ("auto-trust-anchor-file", "trust-anchor-file", "trust-anchor"))
    sent_on = any(each.strip(".").lower() == apex.lower() for each in told.get("name", ()))
    return validates and anchored and sent_on and not is_below(apex, told.get("domain-insecure", ()))
