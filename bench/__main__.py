"""``python -m bench``: measures, writes results and pictures, and prints which targets were met."""

from __future__ import annotations

import argparse
import datetime
import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import mddns

from . import (
    RESULTS,
    WORK,
    commandline,
    documents,
    fanout,
    footprint,
    forwarder,
    machine,
    mirror,
    plots,
    responder,
    targets,
)

SCHEMA: Final = 1


@dataclass(frozen=True, slots=True)
class Size:
    """The size of a run."""

    rounds: int
    seconds: float  # duration of one burst of load
    fanout_rounds: int
    counts: tuple[int, ...]
    runs: int  # runs of each command, and of each import
    idle_seconds: float


FULL: Final = Size(9, 1.0, 11, fanout.COUNTS, 31, 20.0)
QUICK: Final = Size(3, 0.2, 3, (10, 100, 1000), 5, 5.0)

PARTS: Final[Mapping[str, Callable[[Size], dict[str, Any]]]] = {
    "responder": lambda size: responder.measure(size.rounds, size.seconds),
    "forwarder": lambda size: forwarder.measure(size.rounds, size.seconds),
    "fanout": lambda size: fanout.measure(size.fanout_rounds, size.counts),
    "mirror": lambda size: mirror.measure(size.fanout_rounds, size.counts),
    "commandline": lambda size: commandline.measure(size.runs),
    "footprint": lambda size: footprint.measure(size.idle_seconds, size.runs),
}


def measure(size: Size, parts: list[str], mode: str) -> dict[str, Any]:
    """Measures one run. Its figures can be compared with each other, but not with those of other runs."""
    begun, load = time.monotonic(), machine.load()
    results: dict[str, Any] = {
        "schema": SCHEMA,
        "mode": mode,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "mddns": mddns.__version__,
        "machine": machine.facts(),
        "load_before": load,
    }
    for part in parts:
        results[part] = PARTS[part](size)
    results["load_after"] = machine.load()
    results["disturbed"] = disturbed(results)
    results["minutes"] = round((time.monotonic() - begun) / 60, 1)
    results["targets"] = targets.judged(results)
    return results


def disturbed(results: Mapping[str, Any]) -> float | None:
    """Returns the share of bursts in which neither the responder nor the generator had its core to itself.

    Above a few per cent, other programs were running: rates are too low, by different amounts, and only the processor
    time of a query can be compared.
    """
    workloads = targets.at(results, "responder.workloads") or {}
    starved = [
        max(served, asked) < 0.85
        for rows in workloads.values()
        for row in rows.values()
        for served, asked in zip(row["busy_rounds"], row["generator_rounds"], strict=True)
    ]
    return round(sum(starved) / len(starved), 3) if starved else None


def save(results: Mapping[str, Any], folder: Path, name: str) -> None:
    """Writes the results and their pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    if "responder" in results:
        (folder / f"{name}-rates.svg").write_text(plots.rates(results))
    if "fanout" in results:
        (folder / f"{name}-fanout.svg").write_text(plots.fanout(results))


def main(argv: list[str] | None = None) -> int:
    """Returns the exit code: 1 for wrong responses or results that cannot be published; missed targets are 0."""
    parser = argparse.ArgumentParser("python -m bench", description="Measures mddns beside others, in one run.")
    parser.add_argument("--quick", action="store_true", help="under a minute, and rougher")
    parser.add_argument("--only", choices=PARTS, action="append", help="this part alone; repeatable")
    parser.add_argument("--out", type=Path, default=WORK, help="folder for the results; default: bench/work")
    parser.add_argument(
        "--publish", action="store_true", help="a whole run: its results to bench/results, its figures to the documents"
    )
    given = parser.parse_args(argv)
    if given.publish and (given.quick or given.only or given.out != WORK):
        parser.error("--publish is for a whole run, and knows where to write")
    results = measure(QUICK if given.quick else FULL, given.only or list(PARTS), "quick" if given.quick else "full")
    save(results, given.out, "latest")
    print(summary(results))
    if wrong(results):
        return 1
    if given.publish:
        told, published = publish(results)
        print("\n" + told)
        return 0 if published else 1
    if not given.quick and not given.only:
        print(f"\nWritten to {given.out}. To publish a run, in bench/results and README.md: make bench ARGS=--publish")
    return 0


def publish(results: Mapping[str, Any]) -> tuple[str, bool]:
    """Writes results and documents together, as tests compare them; neither if a figure was not measured."""
    if missing := documents.missing(results):
        return "Not published: " + ", ".join(missing) + " was not measured; see 'absent' in the results", False
    save(results, RESULTS, "latest")
    changed = documents.write(results)
    return "Published: bench/results, " + (", ".join(changed) or "and no figure of a document has changed"), True


def summary(results: Mapping[str, Any]) -> str:
    """Returns the summary that is printed at the end."""
    lines = []
    for workload, rows in _all_workloads(results):
        lines += ["", f"{workload:<17} q/s  µs/query  × echo  by CPU  busy  gen. µs  gen."]
        for name, row in rows.items():
            lines.append(
                f"{name:<10} {row['qps']:>10} {row['cpu_us']:>9.1f} {row.get('of_echo', 1):>7.2f} "
                f"{row.get('by_cpu_of_echo', 1):>7.2f} "
                f"{row['busy']:>5.2f} {row['generator_us']:>8.1f} {row['generator_busy']:>5.2f}"
            )
    for kind, scenes in (targets.at(results, "fanout.kinds") or {}).items():
        for count, row in scenes.items():
            if count != "about":
                lines.append(
                    f"fan-out {kind:<9} {count:>5}  {row['mddns_ms']:>8.2f} ms  {row['of_bare']:>7.2f} × bare  "
                    f"{row['answered']}/{row['answering']} answered, {row['asked_again']} asked again"
                )
    for count, row in (targets.at(results, "mirror.peers") or {}).items():
        lines.append(f"mirror of {count:>5} peers  {row['found_us']:>8.2f} µs  {row['of_10']:>7.2f} × the same with 10")
    lines += ["", targets.table(results["targets"])]
    if (part := results["disturbed"] or 0) > 0.05:
        lines += ["", f"Other programs were running in {part:.0%} of the bursts: compare µs/query, or run it again."]
    return "\n".join(lines)


def wrong(results: Mapping[str, Any]) -> list[str]:
    """Returns the programs that gave wrong answers: their rates mean nothing."""
    return [
        f"{name}, {workload}"
        for workload, rows in _all_workloads(results)
        for name, row in rows.items()
        if row["wrong"]
    ]


def _all_workloads(results: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Returns the rows of responders and forwarders, by workload."""
    plain = targets.at(results, "responder.workloads") or {}
    forwarded = targets.at(results, "forwarder.workloads") or {}
    return [*plain.items(), *((f"forwarder {workload}", rows) for workload, rows in forwarded.items())]


if __name__ == "__main__":
    sys.exit(main())
