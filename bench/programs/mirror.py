"""Looks names up in mirrors of several networks in turn, and times it. mirror.py JOB (a JSON file); prints JSON.

A job has: `addresses`, `port`, `counts` (of each network's peers), `name` (what the first peer offers), `rounds`,
`lookups` of a round.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import mddns
from fixed import Fixed
from mddns.base.model import Peer, Snapshot

PATIENCE: Final = 60.0  # seconds until a mirror is whole


def mirror(stack: ExitStack, job: dict[str, Any], count: int) -> mddns.Resolver:
    """A resolver that watches so many peers, when it has heard them all."""
    peers = tuple(Peer(f"peer{i}", (address,), job["port"]) for i, address in enumerate(job["addresses"][:count]))
    resolver = stack.enter_context(mddns.Resolver(network=Fixed(Snapshot(None, peers, "bench"))))
    events = stack.enter_context(resolver.watch())
    until = time.monotonic() + PATIENCE
    seen, current = 0, False
    while seen < count or not current:
        event = events.next(max(0.0, until - time.monotonic()))
        if event is None:
            raise SystemExit(f"{seen} of {count} peers were heard within {PATIENCE:g} s")
        seen += event.kind == "up"
        current = current or event.kind == "current"
    return resolver


def timed(resolver: mddns.Resolver, name: str, lookups: int, found: int) -> float:
    """Processor seconds of one lookup: the mirrors go on in threads of their own, all in this one process."""
    begun = time.thread_time()
    for _ in range(lookups):
        services = resolver.resolve(name)
    took = time.thread_time() - begun
    if len(services) != found:
        raise SystemExit(f"{len(services)} services of {name}, where there are {found}")
    return took / lookups


def main() -> None:
    """Every count in turn, `rounds` times: ratios are taken within a round."""
    job = json.loads(Path(sys.argv[1]).read_text())
    counts, lookups = job["counts"], job["lookups"]
    kinds = {"found": (job["name"], 1), "missing": ("nothing", 0)}
    took: dict[str, dict[int, list[float]]] = {kind: {count: [] for count in counts} for kind in kinds}
    with ExitStack() as stack:
        mirrors = {count: mirror(stack, job, count) for count in counts}
        for number in range(job["rounds"] + 1):
            for count, resolver in mirrors.items():
                for kind, (name, found) in kinds.items():
                    seconds = timed(resolver, name, lookups, found)
                    if number:
                        took[kind][count].append(seconds)
    first = counts[0]
    print(
        json.dumps(
            {
                str(count): {f"{kind}_us": round(statistics.median(took[kind][count]) * 1e6, 2) for kind in kinds}
                | {
                    f"of_{first}" if kind == "found" else f"{kind}_of_{first}": round(
                        statistics.median(
                            one / other for one, other in zip(took[kind][count], took[kind][first], strict=True)
                        ),
                        3,
                    )
                    for kind in kinds
                }
                for count in counts
            }
        )
    )


main()
