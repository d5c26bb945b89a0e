"""md as a service: what it tells systemd, and the unit and the containers that we hand out."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from docblocks import ROOT
from program import World, free_ports

UNIT = ROOT / "contrib/systemd/mddns.service"
FORWARD = UNIT.with_name("mddns-forward.service")
DOCKERFILE = ROOT / "contrib/docker/Dockerfile"
COMPOSE = ROOT / "contrib/docker/compose.yaml"


class Systemd:
    """The socket that a service's notifications come to."""

    def __init__(self, path: str) -> None:
        self.name = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + path[1:] if path.startswith("@") else path)
        self._socket.settimeout(60)

    def next(self) -> dict[str, str]:
        """The next notification."""
        return dict(line.split("=", 1) for line in self._socket.recv(4096).decode().splitlines())

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as world:
        (tmp_path / "s.yaml").write_text("services: [{name: web, address: ':8080'}]\n")
        yield world


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Systemd]:
    made = Systemd(f"@mddns-test-{os.getpid()}" if request.param == "abstract" else str(tmp_path / "notify"))
    yield made
    made.close()


# What it tells


def test_systemd_is_told_of_the_start_of_reloads_and_of_the_end(world: World, systemd: Systemd, tmp_path: Path) -> None:
    process = world.start("advertise", "s.yaml", node="alpha", env={"NOTIFY_SOCKET": systemd.name})
    assert systemd.next() == {"READY": "1", "STATUS": "1 service advertised"}
    assert world.md("find", "web").returncode == 0  # ready is answered
    process.wait_for("advertised")

    before = time.monotonic_ns() // 1000
    process.signal(signal.SIGHUP)
    begun = systemd.next()
    assert begun["RELOADING"] == "1"
    assert before <= int(begun["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
    assert systemd.next() == {"READY": "1", "STATUS": "1 service advertised"}

    # A wrong file is the end of a reload, too, and of nothing else.
    (tmp_path / "s.yaml").write_text("services: [{name: web}]\n")
    process.signal(signal.SIGHUP)
    assert systemd.next()["RELOADING"] == "1"
    assert systemd.next() == {"READY": "1", "STATUS": "1 service advertised"}

    two = "services: [{name: web, address: ':8080'}, {name: db, address: ':5432'}]\n"
    (tmp_path / "s.yaml").write_text(two)
    assert systemd.next() == {"STATUS": "2 services advertised"}

    process.signal(signal.SIGTERM)
    assert systemd.next() == {"STOPPING": "1"}
    assert process.wait() == 0


def test_while_it_waits_it_says_for_what_and_is_not_ready(world: World, systemd: Systemd) -> None:
    env = {"NOTIFY_SOCKET": systemd.name, "MDDNS_NETWORK": None}
    process = world.start("advertise", "web", ":80", env=env)
    told = systemd.next()
    assert told.keys() == {"STATUS"}
    assert told["STATUS"].startswith("waiting for Tailscale: tailscaled is not running")
    assert process.terminate() == 0


@pytest.mark.parametrize("path", ["/nowhere/notify", "@mddns-nobody", "vsock:2:1234", ""])
def test_a_systemd_that_does_not_listen_changes_nothing(world: World, path: str) -> None:
    process = world.start("advertise", "web", ":80", node="alpha", env={"NOTIFY_SOCKET": path})
    process.wait_for("advertised")
    assert process.terminate() == 0
    assert "Traceback" not in process.stderr


# The unit


def settings() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            key, value = line.split("=", 1)
            found.setdefault(key, []).append(value)
    return found


def analyzer() -> str:
    program = shutil.which("systemd-analyze")
    if program is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("systemd-analyze is not installed")
    return str(program)


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with our own md in it: systemd wants programs to exist."""
    md = Path(sys.executable).parent / "md"
    path = tmp_path / "mddns.service"
    path.write_text(UNIT.read_text().replace("/usr/local/bin/md", f'"{md}"'))
    return path


def test_systemd_finds_the_unit_right(unit: Path) -> None:
    argv = [analyzer(), "verify", "--man=no", str(unit)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")


def test_systemd_finds_the_unit_safe(unit: Path) -> None:
    """Its exposure, of 10; below 2 is what it calls OK."""
    argv = [analyzer(), "security", "--offline=true", "--threshold=20", "--no-pager", str(unit)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stdout


@pytest.fixture
def forward_units(tmp_path: Path) -> list[Path]:
    """The forwarder's two, with our own md in them."""
    md = Path(sys.executable).parent / "md"
    paths = []
    for kind in ("service", "socket"):
        path = tmp_path / f"mddns-forward.{kind}"
        path.write_text(UNIT.with_name(path.name).read_text().replace("/usr/local/bin/md", f'"{md}"'))
        paths.append(path)
    return paths


def test_systemd_finds_the_forwarders_units_right(forward_units: list[Path]) -> None:
    argv = [analyzer(), "verify", "--man=no", *map(str, forward_units)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")


def test_systemd_finds_the_forwarder_safe(forward_units: list[Path]) -> None:
    argv = [analyzer(), "security", "--offline=true", "--threshold=20", "--no-pager", str(forward_units[0])]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stdout


def test_the_forwarder_is_hardened_as_the_other_unit_is() -> None:
    ours, other = (path.read_text().partition("DynamicUser=yes\n")[2] for path in (UNIT, FORWARD))
    assert ours == other


def test_the_forwarder_tells_systemd(tmp_path: Path, systemd: Systemd, world: World) -> None:
    (port,) = free_ports(1)
    argv = ["forward", "--listen", f"127.0.0.1:{port}", "--upstream", "127.0.0.1#9"]
    process = world.start(*argv, env={"NOTIFY_SOCKET": systemd.name})
    told = systemd.next()
    assert (told["READY"], told["STATUS"]) == ("1", f"answering at 127.0.0.1:{port}")
    process.signal(signal.SIGHUP)
    assert systemd.next()["RELOADING"] == "1"
    assert systemd.next()["READY"] == "1"
    process.signal(signal.SIGTERM)
    assert systemd.next()["STOPPING"] == "1"
    assert process.wait() == 0


def test_the_units_commands_are_ours_and_go_together() -> None:
    from tests.docs.test_docs import parsed

    (start,) = settings()["ExecStart"]
    program, *words = shlex.split(start)
    assert program.endswith("/md")
    patience = parsed(words).params["patience"]
    # Else systemd would end what only waits.
    assert patience < float(settings()["TimeoutStartSec"][0])
    assert settings()["Type"] == ["notify"]
    assert settings()["ExecReload"] == ["/bin/kill -HUP $MAINPID"]
    assert "AF_UNIX" in settings()["RestrictAddressFamilies"][0]


# The containers


def test_what_the_dockerfile_copies_is_there_and_is_all_that_a_build_needs(tmp_path: Path) -> None:
    """All that pyproject.toml names for a wheel is among it."""
    lines = [line.split() for line in DOCKERFILE.read_text().splitlines() if line.startswith("COPY ")]
    for _, *sources, target in (line for line in lines if not line[1].startswith("--from")):
        for source in sources:
            there = tmp_path / (target if target != "./" else source)
            there.parent.mkdir(parents=True, exist_ok=True)
            assert (ROOT / source).exists(), source
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, there, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / source, there)
    project = (ROOT / "pyproject.toml").read_text()
    named = re.findall(r'(?m)^(?:readme|license-files) = \[?"([^"]+)"', project)
    shared = re.search(r'shared-data\]\n"([^"]+)"', project)
    assert shared is not None
    for needed in (*named, shared[1], "mddns/__init__.py"):
        assert (tmp_path / needed).exists(), f"{needed} is not copied"


def test_the_compose_file_is_read_and_its_command_is_one() -> None:
    from tests.docs.test_docs import parsed

    services: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())["services"]
    md, tailscale = services["md"], services["tailscale"]
    assert parsed(md["command"]).params["words"] == ("web", ":80", "env=prod")
    build = COMPOSE.parent / md["build"]["context"]
    assert (build / md["build"]["dockerfile"]).resolve() == DOCKERFILE
    # Both have the daemon's socket at one place, and one network.
    assert md["network_mode"] == services["web"]["network_mode"] == "service:tailscale"
    assert md["environment"]["TS_SOCKET"] == tailscale["environment"]["TS_SOCKET"]
    directory = os.path.dirname(md["environment"]["TS_SOCKET"])
    for service in (md, tailscale):
        assert any(volume.split(":")[:2] == ["socket", directory] for volume in service["volumes"])
    assert tailscale["environment"]["TS_USERSPACE"] == "false"  # md and web share its addresses
