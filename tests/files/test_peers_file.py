"""What md remembers: in a file that only ever saves time."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from mddns.directory.peer_memory import Memory, Standing
from mddns.files.peers_file import cache_file, load, save

P = "100.64.0.1:28004"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "mddns" / "peers.json"


def known() -> Memory:
    memory = Memory()
    memory.answered(P, 10.0, 0.02)
    return memory


def test_what_was_saved_is_loaded(cache: Path) -> None:
    save("tailscale", known(), 10.0, 1e9)
    loaded = load("tailscale", 3.0, 1e9 + 60)
    assert loaded.standing(P, 3.0) is Standing.REGISTRY
    assert loaded.rtt(P) == pytest.approx(0.02)
    assert str(cache_file()) == str(cache)


def test_each_network_has_its_own_memory(cache: Path) -> None:
    save("tailscale", known(), 10.0, 1e9)
    assert load("static:1.2.3.4", 0.0, 1e9).standing(P, 0.0) is Standing.NEW
    save("static:1.2.3.4", Memory(), 0.0, 1e9)
    assert load("tailscale", 0.0, 1e9).standing(P, 0.0) is Standing.REGISTRY


def test_only_the_latest_networks_are_kept(cache: Path) -> None:
    for number in range(30):
        save(f"network {number}", known(), 0.0, 1e9)
    kept = list(json.loads(cache.read_text()))
    assert len(kept) <= 8
    assert kept[-1] == "network 29"


def test_the_file_may_begin_with_a_byte_order_mark(cache: Path) -> None:
    save("tailscale", known(), 10.0, 1e9)
    cache.write_bytes(b"\xef\xbb\xbf" + cache.read_bytes())
    assert load("tailscale", 3.0, 1e9 + 60).standing(P, 3.0) is Standing.REGISTRY


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"tailscale": 5}',
        b'{"tailscale": {"version": 2, "peers": {}}}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"tailscale": {"version": 1, "peers": {"a": {"answered": ' + b"9" * 400 + b"}}}}",
        b'{"tailscale": {"version": 1, "peers": {"a": {"answered": ' + b"9" * 5000 + b"}}}}",
    ],
    ids=range(10),
)
def test_a_file_that_makes_no_sense_is_as_good_as_none_and_is_replaced(cache: Path, content: bytes) -> None:
    cache.parent.mkdir(parents=True)
    cache.write_bytes(content)
    assert load("tailscale", 0.0, 1e9).standing(P, 0.0) is Standing.NEW
    save("tailscale", known(), 10.0, 1e9)
    assert load("tailscale", 10.0, 1e9).standing(P, 10.0) is Standing.REGISTRY


def test_a_huge_file_is_not_read(cache: Path) -> None:
    cache.parent.mkdir(parents=True)
    with cache.open("wb") as file:
        file.truncate(9 << 20)
    assert load("tailscale", 0.0, 1e9).standing(P, 0.0) is Standing.NEW


@pytest.mark.parametrize("obstacle", ["file", "directory", "dangling"])
def test_where_nothing_can_be_written_nothing_is_remembered_and_nobody_is_bothered(cache: Path, obstacle: str) -> None:
    """Root writes where nobody else can, so the places are spoiled otherwise than by permissions."""
    if obstacle == "file":
        cache.parent.parent.mkdir(parents=True)
        cache.parent.write_text("in the way")
    elif obstacle == "directory":
        (cache / "in the way").mkdir(parents=True)
    else:
        cache.parent.parent.mkdir(parents=True)
        cache.parent.symlink_to("nowhere/at/all")
    save("tailscale", known(), 10.0, 1e9)
    assert load("tailscale", 10.0, 1e9).standing(P, 10.0) is Standing.NEW
    left = [path.name for path in cache.parent.parent.rglob("peers.json.*")]
    assert left == []


def test_writing_is_atomic(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads meanwhile, or is left by a crash, has the old file whole."""
    save("tailscale", known(), 10.0, 1e9)
    before = cache.read_text()

    def crash(source: str, target: str) -> None:
        assert cache.read_text() == before
        assert json.loads(Path(source).read_text())
        raise OSError("the disk is full")

    monkeypatch.setattr(os, "replace", crash)
    save("other", known(), 10.0, 1e9)
    assert cache.read_text() == before
    assert os.listdir(cache.parent) == ["peers.json"]


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"XDG_CACHE_HOME": "/x"}, "/x/mddns/peers.json"),
        ({"XDG_CACHE_HOME": "relative", "HOME": "/tmp"}, "/tmp/.cache/mddns/peers.json"),
        ({"XDG_CACHE_HOME": "", "HOME": "/tmp"}, "/tmp/.cache/mddns/peers.json"),
        ({"HOME": "/proc/nonexistent"}, None),
        ({"HOME": "relative"}, None),
    ],
)
def test_the_file_is_in_the_users_cache_or_nowhere(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], expected: str | None
) -> None:
    for name in ("XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    found = cache_file()
    assert (None if found is None else str(found)) == expected


def test_without_a_home_nothing_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/proc/nonexistent")  # where not even root can make it
    save("tailscale", known(), 10.0, 1e9)
    assert load("tailscale", 10.0, 1e9).standing(P, 10.0) is Standing.NEW
