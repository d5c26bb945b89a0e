"""`md setup` as a program: what it prints, writes, removes, runs and refuses."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from program import MD, as_nobody

from mddns.setup import APPLICABLE, EXAMPLE_NODE, KINDS, recipe, target, text

PLACES = {
    "resolved": "etc/systemd/resolved.conf.d/mddns.conf",
    "dnsmasq": "etc/dnsmasq.d/mddns.conf",
    "unbound": "etc/unbound/unbound.conf.d/mddns.conf",
    "macos": "etc/resolver/minidisc",
}


def setup(*args: str, **more: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("MDDNS_")}
    env: Mapping[str, str] = {**kept, "TS_SOCKET": "/nowhere/tailscaled.sock", **more}
    return subprocess.run([*MD, "setup", *args], capture_output=True, text=True, check=False, timeout=20, env=env)


def programs(directory: Path, systemd: int) -> str:
    """A PATH on which systemctl is of that version and nothing else is."""
    script = directory / "systemctl"
    script.write_text(f"#!/bin/sh\necho 'systemd {systemd} ({systemd}.1)'\n")
    script.chmod(0o755)
    return str(directory)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "resolved"])
def test_it_prints_the_recipe_and_touches_nothing(kind: str) -> None:
    done = setup(kind, "--listen", f"{EXAMPLE_NODE}:53")
    to = target("minidisc", f"{EXAMPLE_NODE}:53")
    assert (done.returncode, done.stdout, done.stderr) == (0, text(recipe(kind, to), to), "")


@pytest.mark.parametrize(("systemd", "section"), [(252, "[Resolve]"), (259, "[Delegate]")])
def test_resolved_gets_what_this_machines_systemd_takes(tmp_path: Path, systemd: int, section: str) -> None:
    assert section in setup("resolved", PATH=programs(tmp_path, systemd)).stdout


@pytest.mark.parametrize(
    ("kind", "server"), [("headscale", "http://10.1.0.7:28005/dns-query"), ("tailscale", '["10.1.0.7"]')]
)
def test_a_node_is_this_machine_where_it_is_known(kind: str, server: str) -> None:
    done = setup(kind, "--network", "static:10.1.0.7", "--address", "10.1.0.7", "--port", "28005")
    assert (server in done.stdout, done.stderr) == (True, "")


def test_the_commands_that_are_shown_name_the_network_that_was_given() -> None:
    done = setup("dnsmasq", "--network", "static:10.1.0.7,10.1.0.8", "--address", "10.1.0.7", "--port", "28005")
    network = "--network static:10.1.0.7,10.1.0.8 --address 10.1.0.7 --port 28005"
    assert f"md forward --listen 127.0.0.1:5354 {network}\n" in done.stdout
    assert f"md doctor {network}\n" in done.stdout


def test_without_a_network_a_node_is_an_example_and_that_is_said() -> None:
    done = setup("headscale")
    assert f"http://{EXAMPLE_NODE}:28004/dns-query" in done.stdout
    assert f"{EXAMPLE_NODE} is only an example" in done.stderr


# --- apply and undo ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", APPLICABLE)
def test_apply_writes_one_file_says_so_and_undo_takes_it_away(kind: str, tmp_path: Path) -> None:
    root = tmp_path / "root"
    tools = tmp_path / "bin"
    tools.mkdir()
    path = programs(tools, 252)
    done = setup(kind, "--apply", "--root", str(root), PATH=path)
    assert (done.returncode, done.stdout) == (0, "")
    files = [each for each in root.rglob("*") if each.is_file()]
    assert files == [root / PLACES[kind]]
    assert f"wrote {files[0]}" in done.stderr
    assert "md forward --listen 127.0.0.1:5354" in done.stderr
    assert "to load it, run: sudo " in done.stderr
    made = files[0].read_bytes()

    again = setup(kind, "--apply", "--root", str(root), PATH=path)
    assert (again.returncode, files[0].read_bytes()) == (0, made)
    assert f"{files[0]} is already up to date" in again.stderr

    gone = setup(kind, "--undo", "--root", str(root), PATH=path)
    assert (gone.returncode, files[0].exists()) == (0, False)
    assert f"removed {files[0]}" in gone.stderr
    assert setup(kind, "--undo", "--root", str(root), PATH=path).returncode == 0


@pytest.mark.parametrize("option", ["--apply", "--undo"])
def test_a_file_that_is_not_ours_is_left_alone(option: str, tmp_path: Path) -> None:
    path = tmp_path / PLACES["dnsmasq"]
    path.parent.mkdir(parents=True)
    path.write_text("server=9.9.9.9\n")
    done = setup("dnsmasq", option, "--root", str(tmp_path))
    assert (done.returncode, path.read_text()) == (2, "server=9.9.9.9\n")
    assert f"{path} was not written by mddns" in done.stderr


def test_a_newer_systemd_takes_the_older_files_place(tmp_path: Path) -> None:
    root, tools = tmp_path / "root", tmp_path / "bin"
    tools.mkdir()
    setup("resolved", "--apply", "--root", str(root), PATH=programs(tools, 252))
    done = setup("resolved", "--apply", "--root", str(root), PATH=programs(tools, 258))
    assert [each.name for each in root.rglob("*") if each.is_file()] == ["mddns.dns-delegate"]
    assert ", which this file replaces" in done.stderr
    setup("resolved", "--undo", "--root", str(root), PATH=programs(tools, 252))
    assert not [each for each in root.rglob("*") if each.is_file()]


def test_another_address_replaces_our_file(tmp_path: Path) -> None:
    setup("macos", "--apply", "--root", str(tmp_path))
    setup("macos", "--apply", "--root", str(tmp_path), "--listen", "127.0.0.1:53")
    assert (tmp_path / PLACES["macos"]).read_text().endswith("nameserver 127.0.0.1\nport 53\n")


def test_who_may_not_write_is_told_the_sudo_line(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    root.chmod(0o555)
    for folder in list(tmp_path.parents)[:3]:  # pytest's own, closed to others
        if folder.stat().st_uid == os.geteuid():
            folder.chmod(folder.stat().st_mode | 0o055)
    line = ["setup", "dnsmasq", "--apply", "--listen", "127.0.0.1:53", "--domain", "a.b", "--root", str(root)]
    done = subprocess.run(as_nobody(*line), capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == 2
    assert 'sudo "$(command -v mddns)" setup dnsmasq --apply --listen 127.0.0.1:53 --domain a.b' in done.stderr
    assert list(root.iterdir()) == []


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["dnsmasq", "--apply", "--undo"], "not both"),
        (["coredns", "--apply"], "for resolved, dnsmasq, unbound, macos"),
        (["dnsmasq", "--root", "/x"], "--root needs"),
        (["bind"], "dnsmasq"),
        ([], "KIND"),
        (["tailscale", "--listen", "100.64.0.1:5354"], "port 53 only"),
        (["dnsmasq", "--listen", "x"], "must be an address"),
        (["dnsmasq", "--domain", "a b"], "letters, digits, hyphens and dots"),
        (["dnsmasq", "-o", "json"], "this command supports only table"),
    ],
)
def test_wrong_usage_is_told_and_prints_nothing(args: list[str], words: str) -> None:
    done = setup(*args)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
