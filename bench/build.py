"""The measuring programs in C, built at first use."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

from . import HERE, WORK


@cache
def built(name: str) -> Path | None:
    """The path of the program built from ``c/NAME.c``; None without a C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    source = HERE / "c" / f"{name}.c"
    program = WORK / f"{name}-{hashlib.sha256(source.read_bytes()).hexdigest()[:12]}"
    if program.exists():
        return program
    if compiler is None:
        return None
    WORK.mkdir(exist_ok=True)
    unfinished = program.with_suffix(f".{os.getpid()}")  # two processes may build at the same time
    subprocess.run([compiler, "-O2", "-Wall", "-o", str(unfinished), str(source)], check=True)
    unfinished.rename(program)
    return program
