"""The targets and what was reached: the table at the end of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

Verdict = Literal["met", "missed", "not measured", "not built yet"]


@dataclass(frozen=True, slots=True)
class Target:
    """One line of the table. `key` is the key of its value in the results; `unit` is the unit of the value."""

    work: str
    key: str
    sign: Literal["≥", "≤"]
    bound: float
    unit: str

    def verdict(self, results: Mapping[str, Any]) -> Verdict:
        """Whether the target was met or missed, or why that is unknown."""
        if not self.key:
            return "not built yet"
        value = at(results, self.key)
        if not isinstance(value, int | float):
            return "not measured"
        return "met" if (value >= self.bound if self.sign == "≥" else value <= self.bound) else "missed"


_RATES = "responder.workloads"
_CACHED = "forwarder.workloads"
_CROWDS = "fanout.kinds"

TARGETS: Final = (
    Target("responder, repeated queries", f"{_RATES}.repeated.mddns.of_echo", "≥", 0.95, "× the echo's rate"),
    Target("responder, repeated queries", f"{_RATES}.repeated.mddns.of_dnsmasq", "≥", 1.0, "× dnsmasq's rate"),
    Target("responder, repeated queries", f"{_RATES}.repeated.mddns.of_miekg", "≥", 1.5, "× a miekg/dns server's rate"),
    Target("responder, as dig asks", f"{_RATES}.dig.mddns.of_echo", "≥", 0.85, "× the echo's rate"),
    Target("forwarder, cached answer", f"{_CACHED}.stub.mddns.of_dnsmasq", "≥", 1.0, "× dnsmasq's rate as a forwarder"),
    Target("forwarder, cached answer", f"{_CACHED}.stub.mddns.of_unbound", "≥", 0.7, "× unbound's rate"),
    Target("resolve, 1000 peers, answers alike", f"{_CROWDS}.alike.1000.of_bare", "≤", 1.35, "× bare"),
    Target("resolve, 1000 peers, all differ", f"{_CROWDS}.differ.1000.of_bare", "≤", 2.0, "× bare"),
    Target("resolve, 1000 peers", "fanout.others.1000.minidisc.of_mddns", "≥", 45, "× faster than Minidisc's client"),
    Target("resolve, 100 of 1000 refusing", f"{_CROWDS}.refusing.1000.of_bare", "≤", 3.5, "× bare"),
    Target("resolve, 1 of 10 silent, worst", f"{_CROWDS}.silent.1000.mddns_worst_ms", "≤", 1050, "ms (deadline + 50)"),
    Target("resolve, 1000 peers, answers lost", "fanout.lost", "≤", 0, "answers"),
    Target("lookup from the mirror, 5000 peers", "mirror.peers.5000.of_10", "≤", 1.1, "× the same with 10"),
    Target(
        "md find with a holder on the host",
        "commandline.commands.md_find.of_imports",
        "≤",
        1.25,
        "× import click, socket, json",
    ),
    Target("registry inside a program, memory", "footprint.above_bare_mib", "≤", 12, "MiB above bare Python"),
    Target("registry inside a program, idle", "footprint.idle_percent", "≤", 0.1, "% of a core, 100 peers"),
    Target("import mddns", "footprint.imports.mddns.of_standard", "≤", 1.5, "× import socket, json, threading"),
)


def at(results: Mapping[str, Any], key: str) -> Any:
    """The value at a dotted key; None if there is none."""
    value: Any = results
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return None
        value = value[part]
    return value


def judged(results: Mapping[str, Any], targets: Iterable[Target] = TARGETS) -> list[dict[str, Any]]:
    """All targets in the format of the results."""
    return [
        {
            "work": each.work,
            "key": each.key,
            "value": at(results, each.key) if each.key else None,
            "by_cpu": at(results, _by_cpu(each.key)),
            "target": f"{each.sign} {each.bound:g} {each.unit}",
            "verdict": each.verdict(results),
        }
        for each in targets
    ]


def _by_cpu(key: str) -> str:
    """The key of the same ratio by CPU time instead of rates or wall time; other programs disturb it less."""
    if key.startswith((_RATES, _CACHED)):
        return key.replace(".of_", ".by_cpu_of_")
    return key.replace(".of_bare", ".cpu_of_bare") if key.endswith(".of_bare") else "none"


def table(rows: Iterable[Mapping[str, Any]]) -> str:
    """The table as text."""
    cells = [("work", "reached", "by CPU", "target", "")]
    for row in rows:
        value, by_cpu = ("" if row[key] is None else f"{row[key]:g}" for key in ("value", "by_cpu"))
        cells.append((row["work"], value, by_cpu, row["target"], row["verdict"]))
    widths = [max(len(line[column]) for line in cells) for column in range(4)]
    return "\n".join(
        f"{work:<{widths[0]}}  {value:>{widths[1]}}  {by_cpu:>{widths[2]}}  {target:<{widths[3]}}  {verdict}".rstrip()
        for work, value, by_cpu, target, verdict in cells
    )
