"""`make tailnet` where its programs cannot be had: it says so loudly, what is missing and why, and exits with 3."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.namespaces  # else another reason comes first


def tailnet(tmp_path: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """`python -m tailnet` with an empty cache."""
    given = {key: value for key, value in os.environ.items() if not key.startswith("MDDNS_TAILNET")}
    env = {**given, "XDG_CACHE_HOME": str(tmp_path), **env}
    argv = [sys.executable, "-m", "tailnet"]
    return subprocess.run(argv, env=env, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)


def why(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 3, done.stderr
    (line,) = (each for each in done.stderr.splitlines() if each.startswith("THE REAL TAILNET DID NOT RUN: "))
    return line.partition(": ")[2]


def test_without_time_to_build_what_is_missing_is_named(tmp_path: Path) -> None:
    said = why(tailnet(tmp_path, MDDNS_TAILNET_BUILD_SECONDS="0"))
    assert said.startswith("headscale 0.29.2: not there, and MDDNS_TAILNET_BUILD_SECONDS=0 forbids to build it")
    assert "MDDNS_TAILNET_BIN" in said


def test_programs_that_are_named_count_and_the_rest_is_missed(tmp_path: Path) -> None:
    (tmp_path / "headscale").write_text("#!/bin/sh\n")
    (tmp_path / "headscale").chmod(0o755)
    said = why(tailnet(tmp_path, MDDNS_TAILNET_BIN=str(tmp_path), MDDNS_TAILNET_BUILD_SECONDS="0"))
    assert said.startswith("tailscale, tailscaled 1.102.5: not there")


def test_what_go_cannot_build_is_told_in_its_words(tmp_path: Path) -> None:
    (tmp_path / "go").write_text("#!/bin/sh\necho 'go: downloading x'\necho 'no: 403 Forbidden'\nexit 1\n")
    (tmp_path / "go").chmod(0o755)
    said = why(tailnet(tmp_path, PATH=f"{tmp_path}:{os.environ['PATH']}"))
    assert "Go said: no: 403 Forbidden" in said


def test_without_go_that_is_the_reason(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for each in ("ip", "ss", "nft", "nsenter", "unshare", "openssl", "dig", "curl", "git"):
        found = shutil.which(each)
        if found:
            (programs / each).symlink_to(found)
    assert "there is no Go to build it with" in why(tailnet(tmp_path, PATH=str(programs)))
