"""Compares responders: rates, CPU time, latency."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from . import corpus
from .load import Load, generator_name, load
from .servers import Server, start_all

WINDOW: Final = 64
BASES: Final = ("echo", "dnsmasq", "unbound", "miekg")
_LATENCY_RATE: Final = 10_000.0  # queries per second
_LATENCY_OF: Final = "repeated"


def measure(rounds: int, seconds: float) -> dict[str, Any]:
    """Measures each responder and workload `rounds` times for `seconds`, in turn."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        servers, absent = start_all(folder)
        try:
            files = {
                (workload, server.apex): corpus.write(workload, server.apex, folder)
                for workload in corpus.WORKLOADS
                for server in servers
            }
            workloads = {}
            for workload in corpus.WORKLOADS:
                print(f"responder, {workload}", flush=True)
                beside = [server for server in servers if workload in server.only]
                workloads[workload] = rates(
                    beside, {each.name: files[workload, each.apex] for each in beside}, rounds, seconds
                )
            print("responder, latency", flush=True)
            reached = {name: row["qps"] for name, row in workloads[_LATENCY_OF].items()}
            able = [each for each in servers if reached[each.name] > 2 * _LATENCY_RATE]
            latency = _latencies(
                able, {each.name: files[_LATENCY_OF, each.apex] for each in able}, max(1, rounds // 3), 2 * seconds
            )
        finally:
            for server in servers:
                server.process.close()
    return {
        "about": {key: told for key, (told, _) in corpus.WORKLOADS.items()},
        "generator": generator_name(),
        "window": WINDOW,
        "rounds": rounds,
        "seconds_a_round": seconds,
        "versions": {server.name: server.version for server in servers},
        "absent": {each.name: each.reason for each in absent},
        "workloads": workloads,
        "latency": {"rate": _LATENCY_RATE, "workload": _LATENCY_OF, "servers": latency},
    }


def rates(servers: Sequence[Server], files: dict[str, Path], rounds: int, seconds: float) -> dict[str, Any]:
    """Measures one workload, whose queries are in `files`; a row for each responder."""
    loads: dict[str, list[Load]] = {server.name: [] for server in servers}
    costs: dict[str, list[float]] = {server.name: [] for server in servers}
    busy: dict[str, list[float]] = {server.name: [] for server in servers}
    for server in servers:
        _load(server, files, min(0.2, seconds), 0)  # caches, page faults
    for number in range(rounds):
        for server in _turned(servers, number):
            before = server.process.cpu_seconds()
            told = _load(server, files, seconds, number + 1)
            used = server.process.cpu_seconds() - before
            loads[server.name].append(told)
            costs[server.name].append(used / max(1, told.received) * 1e6)
            busy[server.name].append(used / told.seconds)
    return {
        server.name: _row(server.name, loads, costs)
        | {
            "busy": round(statistics.median(busy[server.name]), 2),
            "busy_rounds": [round(each, 2) for each in busy[server.name]],
            "generator_rounds": [round(each.cpu_seconds / each.seconds, 2) for each in loads[server.name]],
        }
        for server in servers
    }


def _row(name: str, loads: dict[str, list[Load]], costs: dict[str, list[float]]) -> dict[str, Any]:
    mine = loads[name]
    row: dict[str, Any] = {
        "qps": round(statistics.median(each.rate for each in mine)),
        "cpu_us": round(statistics.median(costs[name]), 2),
        "generator_us": round(statistics.median(each.generator_us for each in mine), 2),
        "generator_busy": round(statistics.median(each.cpu_seconds / each.seconds for each in mine), 2),
        "octets": round(statistics.fmean(each.mean_octets for each in mine)),
        "wrong": sum(each.bad for each in mine),
        "lost": sum(each.lost for each in mine),
        "rates": [round(each.rate) for each in mine],
    }
    for base in BASES:
        if base in loads and base != name:
            # Within a round both have the same conditions; the median round counts.
            ratios = [one.rate / other.rate for one, other in zip(mine, loads[base], strict=True)]
            row[f"of_{base}"] = round(statistics.median(ratios), 3)
            # The ratio of the rates if both servers had their core to themselves.
            spared = [other / one for one, other in zip(costs[name], costs[base], strict=True)]
            row[f"by_cpu_of_{base}"] = round(statistics.median(spared), 3)
    return row


def _latencies(servers: Sequence[Server], files: dict[str, Path], rounds: int, seconds: float) -> dict[str, Any]:
    loads: dict[str, list[Load]] = {server.name: [] for server in servers}
    for number in range(rounds):
        for server in _turned(servers, number):
            loads[server.name].append(_load(server, files, seconds, number, rate=_LATENCY_RATE))
    return {
        name: {
            key: round(statistics.median(getattr(each, key) for each in mine), 1)
            for key in ("p50_us", "p99_us", "p999_us")
        }
        | {"lost": sum(each.lost for each in mine), "wrong": sum(each.bad for each in mine)}
        for name, mine in loads.items()
    }


def _load(server: Server, files: dict[str, Path], seconds: float, seed: int, rate: float | None = None) -> Load:
    return load(
        server.address,
        server.port,
        files[server.name],
        seconds,
        window=WINDOW,
        rate=rate,
        seed=seed,
        echo=server.echo,
    )


def _turned(servers: Iterable[Server], number: int) -> list[Server]:
    """Another order in each round, so that a responder does not always run after the same one."""
    ordered = list(servers)
    at = number % len(ordered)
    return ordered[at:] + ordered[:at]
