"""Finds the programs of a real tailnet, or builds them once by Go and caches them.

A run reports once what is missing: a module that the proxy refuses is not requested again.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

DIRECTORY: Final = "MDDNS_TAILNET_BIN"
"""The variable with a directory that already has the programs."""

BUILD_SECONDS: Final = "MDDNS_TAILNET_BUILD_SECONDS"
"""The variable with the longest time of all builds in seconds; by default 1500; with 0 nothing is built."""

TAILSCALE: Final = "1.102.5"
HEADSCALE: Final = "0.29.2"

PROGRAMS: Final = ("headscale", "tailscaled", "tailscale")


class Missing(Exception):
    """Programs are missing; the message says which and why."""


@dataclass(frozen=True)
class Binaries:
    """The path of each program."""

    headscale: Path
    tailscaled: Path
    tailscale: Path


@dataclass(frozen=True)
class _Module:
    path: str  # of the module
    version: str
    commands: tuple[str, ...]
    stamps: tuple[str, ...]  # version data that `go install` would not put into the program

    @property
    def name(self) -> str:
        return self.commands[0]


# headscale comes first: it is the smaller one, and may be refused; then tailscale is not built in vain.
_MODULES: Final = (
    _Module("github.com/juanfont/headscale", HEADSCALE, ("headscale",), ()),
    _Module(
        "tailscale.com",
        TAILSCALE,
        ("tailscale", "tailscaled"),
        (
            f"-X tailscale.com/version.shortStamp={TAILSCALE}",
            f"-X tailscale.com/version.longStamp={TAILSCALE}-tmddns",
        ),
    ),
)


def find() -> Binaries:
    """Returns the programs from MDDNS_TAILNET_BIN or the cache. Missing names those that are in neither."""
    found = {name: place for module in _MODULES for name in module.commands if (place := _place(module, name))}
    if missing := [name for name in PROGRAMS if name not in found]:
        raise Missing(f"no {', '.join(missing)} in {_named() or _cache()}")
    return Binaries(**found)


def get() -> Binaries:
    """Returns the programs and builds missing ones, which takes minutes. Missing says what cannot be built, and why."""
    limit = float(os.environ.get(BUILD_SECONDS, "1500"))
    until = time.monotonic() + limit
    for module in _MODULES:
        missing = [name for name in module.commands if _place(module, name) is None]
        if missing:
            _build(module, missing, until, limit)
    return find()


def _named() -> Path | None:
    return Path(os.environ[DIRECTORY]) if os.environ.get(DIRECTORY) else None


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mddns-tailnet"


def _place(module: _Module, name: str) -> Path | None:
    kept = _cache() / f"{module.name}-{module.version}"
    for directory in (_named(), kept):
        if directory and os.access(directory / name, os.X_OK):
            return directory / name
    return None


def _build(module: _Module, names: list[str], until: float, limit: float) -> None:
    what = f"{', '.join(names)} {module.version}"
    how = f"put {'it' if len(names) == 1 else 'them'} into a directory, and name that in {DIRECTORY}"
    if limit <= 0:
        raise Missing(f"{what}: not there, and {BUILD_SECONDS}=0 forbids to build it; {how}")
    if shutil.which("go") is None:
        raise Missing(f"{what}: not there, and there is no Go to build it with; install Go, or {how}")
    into = _cache() / f"{module.name}-{module.version}"
    into.mkdir(parents=True, exist_ok=True)
    sys.stderr.write(f"tailnet: building {what} into {into}, once; this takes some minutes\n")
    packages = [f"{module.path}/cmd/{name}@v{module.version}" for name in names]
    argv = ["go", "install", "-trimpath", "-ldflags", " ".join(("-s -w", *module.stamps)), *packages]
    env = {**os.environ, "GOBIN": str(into), "GOFLAGS": "", "CGO_ENABLED": "0"}
    # In a process group of its own, so that its compilers end with it.
    with subprocess.Popen(
        argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as build:
        try:
            said, _ = build.communicate(timeout=max(1.0, until - time.monotonic()))
        except BaseException as error:
            os.killpg(build.pid, 9)
            if isinstance(error, subprocess.TimeoutExpired):
                raise Missing(f"{what}: not built within {limit:.0f} s ({BUILD_SECONDS}); {how}") from None
            raise
    if build.returncode != 0:
        last = [line for line in said.splitlines() if line.strip() and not line.startswith("go: downloading")][-3:]
        raise Missing(f"{what}: Go could not build it, and {how}. Go said: {' / '.join(last)}")
