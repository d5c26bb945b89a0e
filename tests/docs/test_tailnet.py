"""`make tailnet` where its programs cannot be had: it says so loudly, what is missing and why, and exits with 3."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tailnet import __main__ as command
from tailnet import binaries, possible


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(binaries.DIRECTORY, raising=False)
    monkeypatch.delenv(binaries.BUILD_SECONDS, raising=False)


def program(path: Path, script: str = "") -> None:
    path.write_text(f"#!/bin/sh\n{script}")
    path.chmod(0o755)


def why() -> str:
    with pytest.raises(binaries.Missing) as told:
        binaries.get()
    return str(told.value)


def test_without_time_to_build_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(binaries.BUILD_SECONDS, "0")
    said = why()
    assert said.startswith("headscale 0.29.2: not there, and MDDNS_TAILNET_BUILD_SECONDS=0 forbids to build it")
    assert "MDDNS_TAILNET_BIN" in said


def test_programs_that_are_named_count_and_the_rest_is_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "headscale")
    monkeypatch.setenv(binaries.DIRECTORY, str(tmp_path))
    monkeypatch.setenv(binaries.BUILD_SECONDS, "0")
    assert why().startswith("tailscale, tailscaled 1.102.5: not there")


def test_what_go_cannot_build_is_told_in_its_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "go", "echo 'go: downloading x'\necho 'no: 403 Forbidden'\nexit 1\n")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert "Go said: no: 403 Forbidden" in why()


def test_what_takes_too_long_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "go", "sleep 60\n")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv(binaries.BUILD_SECONDS, "1")
    assert why().startswith("headscale 0.29.2: not built within 1 s")


def test_without_go_that_is_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "there is no Go to build it with" in why()


def test_what_is_built_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "go", 'for p in headscale tailscale tailscaled; do cp "$0" "$GOBIN/$p"; done\n')
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    built = binaries.get()
    assert built.tailscaled == tmp_path / "cache" / "mddns-tailnet" / "tailscale-1.102.5" / "tailscaled"
    assert binaries.find() == built


def test_it_is_said_loudly_and_exits_with_3(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(possible, "why_not", lambda: None)
    monkeypatch.setattr(sys, "argv", ["tailnet"])
    monkeypatch.setenv(binaries.BUILD_SECONDS, "0")
    assert command.main() == 3
    assert "\nTHE REAL TAILNET DID NOT RUN: headscale 0.29.2: not there" in capsys.readouterr().err
