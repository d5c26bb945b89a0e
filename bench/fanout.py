"""Measures `resolve` over many peers, compared with only sending and receiving the same datagrams."""

from __future__ import annotations

import json
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from . import HERE
from .build import built
from .peers import KINDS, PORT, Crowd, Peers, crowd, query
from .process import CLIENT_CORE, SERVER_CORE, Failed, Process, on_core
from .servers import site_env, site_version

COUNTS: Final = (10, 100, 1000, 5000)
TIMEOUT: Final = 1.0
_OTHERS: Final = {"aiodns": "aiodns", "dnspython": "dnspython", "minidisc": "minidisc-python"}
_OTHERS_UP_TO: Final = 1000
_OTHERS_ROUNDS: Final = 3


def measure(rounds: int, counts: Sequence[int] = COUNTS) -> dict[str, Any]:
    """Measures each kind of crowd in each size."""
    if built("peers") is None:
        return {"absent": "no C compiler: run bench/setup"}
    kinds: dict[str, Any] = {}
    for kind, about in KINDS.items():
        print(f"fan-out, {kind}", flush=True)
        # A lookup waits long for silent peers, so these have fewer rounds.
        turns = min(rounds, 5) if kind == "silent" else rounds
        kinds[kind] = {"about": about} | {str(count): scene(kind, count, turns) for count in counts}
    print("fan-out, others", flush=True)
    versions, absent = _others_here()
    others = {
        str(count): _others(count, list(versions), min(rounds, _OTHERS_ROUNDS))
        for count in counts
        if count <= _OTHERS_UP_TO and versions
    }
    scenes = [each for kind in kinds.values() for each in kind.values() if isinstance(each, dict)]
    return {
        "rounds": rounds,
        "lost": sum(each["answering"] - each["answered"] for each in scenes),
        "timeout_s": TIMEOUT,
        "versions": versions,
        "absent": absent,
        "kinds": kinds,
        "others": others,
    }


def _others_here() -> tuple[dict[str, str], dict[str, str]]:
    versions, absent = {}, {}
    for way, package in _OTHERS.items():
        try:
            versions[way] = site_version(package)
        except Failed as error:
            absent[way] = str(error)
    return versions, absent


def scene(kind: str, count: int, rounds: int, port: int = PORT) -> dict[str, Any]:
    """Measures one crowd: runs `resolve` and the bare exchange in turn."""
    people = crowd(kind, count)
    with tempfile.TemporaryDirectory() as name, Peers(people.packed, Path(name), port) as peers:
        folder = Path(name)
        counted = _run(folder, people, ["counted"], 1, unmeasured=0, port=port)["counted"]["found"]
        asked = peers.counts()[0]
        told = _run(folder, people, ["bare", "mddns", "known"], rounds, port=port)
    ours, bare, known = told["mddns"], told["bare"], told["known"]
    return {
        "bare_ms": _ms(bare["seconds"]),
        "mddns_ms": _ms(ours["seconds"]),
        "mddns_worst_ms": round(max(ours["seconds"]) * 1000, 2),
        "of_bare": _ratio(ours["seconds"], bare["seconds"]),
        "cpu_of_bare": _ratio(ours["cpu"], bare["cpu"]),
        "mddns_us_a_peer": round(statistics.median(ours["cpu"]) / count * 1e6, 2),
        "bare_us_a_peer": round(statistics.median(bare["cpu"]) / count * 1e6, 2),
        "known_ms": _ms(known["seconds"]),
        "answering": people.answering,
        "answered": counted[0],
        "asked_again": asked - (count if kind != "refusing" else people.answering),
        "holders": people.holders,
        "found": ours["found"],
    }


def _others(count: int, ways: list[str], rounds: int) -> dict[str, Any]:
    people = crowd("serials", count)
    with tempfile.TemporaryDirectory() as name, ExitStack() as running:
        running.enter_context(Peers(people.packed, Path(name)))
        if "minidisc" in ways:
            running.enter_context(_minidisc_peers(people, Path(name)))
        told = _run(Path(name), people, ["bare", "mddns", *ways], rounds, env=site_env())
    ours = told["mddns"]
    return {
        way: {
            "ms": _ms(told[way]["seconds"]),
            "of_bare": _ratio(told[way]["seconds"], told["bare"]["seconds"]),
            "of_mddns": _ratio(told[way]["seconds"], ours["seconds"]),
            "found": told[way]["found"],
        }
        for way in ("bare", "mddns", *ways)
    } | {"holders": people.holders}


def _minidisc_peers(people: Crowd, folder: Path) -> Process:
    """Minidisc's own servers at the same addresses; one in a hundred has a service, as in the crowd."""
    addresses = folder / "addresses"
    addresses.write_text("\n".join(people.live))
    argv = [sys.executable, str(HERE / "programs" / "minidisc_peers.py"), str(addresses), "100"]
    process = Process(argv, folder / "minidisc.log", core=CLIENT_CORE, env=site_env())

    def up() -> bool:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
            return sock.connect_ex((people.live[-1], PORT)) == 0

    try:
        process.wait_until(up, 30.0)
    except Failed:
        process.close()
        raise
    return process


def _run(
    folder: Path,
    people: Crowd,
    ways: list[str],
    rounds: int,
    *,
    unmeasured: int = 1,
    port: int = PORT,
    env: dict[str, str] | None = None,
) -> dict[str, Any]:
    job = folder / "job.json"
    job.write_text(
        json.dumps(
            {
                "addresses": people.asked,
                "live": people.live,
                "port": port,
                "rounds": rounds,
                "unmeasured": unmeasured,
                "ways": ways,
                "query": query().hex(),
                "timeout": TIMEOUT,
            }
        )
    )
    done = subprocess.run(
        [sys.executable, str(HERE / "programs" / "fanout.py"), str(job)],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", **(env or {})},
        preexec_fn=on_core(SERVER_CORE),
        timeout=600,
    )
    if done.returncode:
        raise Failed(f"fan-out to {len(people.asked)}: {done.stderr.strip()[-800:]}")
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def _ms(seconds: Sequence[float]) -> float:
    return round(statistics.median(seconds) * 1000, 3)


def _ratio(ones: Sequence[float], others: Sequence[float]) -> float:
    return round(statistics.median(one / other for one, other in zip(ones, others, strict=True)), 2)
