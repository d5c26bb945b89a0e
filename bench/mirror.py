"""Measures a lookup from the mirror of a watch, which does not depend on the number of peers."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from . import HERE
from .build import built
from .peers import PORT, SERVICE, Peers, listed
from .process import SERVER_CORE, Failed, on_core

COUNTS: Final = (10, 100, 1000, 5000)
LOOKUPS: Final = 1000  # per round


def measure(rounds: int, counts: Sequence[int] = COUNTS, port: int = PORT) -> dict[str, Any]:
    """Measures lookups of a name that one peer offers, and of one that no peer offers, among so many peers."""
    if built("peers") is None:
        return {"absent": "no C compiler: run bench/setup"}
    print("mirror", flush=True)
    people = listed(max(counts))
    job = {"addresses": people.addresses, "port": port, "name": SERVICE, "counts": counts, "rounds": rounds}
    with tempfile.TemporaryDirectory() as name, Peers(people.packed, Path(name), port):
        path = Path(name) / "job.json"
        path.write_text(json.dumps(job | {"lookups": LOOKUPS}))
        done = subprocess.run(
            [sys.executable, str(HERE / "programs" / "mirror.py"), str(path)],
            capture_output=True,
            text=True,
            preexec_fn=on_core(SERVER_CORE),
            timeout=600,
        )
    if done.returncode:
        raise Failed(f"mirror: {done.stderr.strip()[-800:]}")
    told: dict[str, Any] = json.loads(done.stdout)
    return {"rounds": rounds, "lookups": LOOKUPS, "peers": told}
