"""The real program where its streams, its home or its locale are not as they should be: it goes on, quietly."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from program import World

SERVICES = 1000
UNPRIVILEGED = "setpriv --bounding-set -dac_override" if os.getuid() == 0 else ""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """alpha offers 1,000 services, which is more than a pipe holds; bravo one. The node that asks offers nothing."""
    with World(tmp_path_factory.mktemp("streams"), ("asker", "alpha", "bravo")) as world:
        lines = (f"  - {{name: many-{n}, address: ':{n + 1}', labels: {{note: {'x' * 50}}}}}" for n in range(SERVICES))
        (world.directory / "many.yaml").write_text("services:\n" + "\n".join(lines), "utf-8")
        world.start("advertise", "many.yaml", node="alpha").wait_for("advertised")
        world.start("advertise", "straße", ":8080", "name=Müller", node="bravo").wait_for("advertised")
        yield world


@pytest.mark.parametrize("output", ["table", "json"])
def test_a_reader_that_has_seen_enough_is_no_error(world: World, output: str) -> None:
    done = world.shell(f"set -o pipefail; md list -o {output} | head -1; echo code ${{PIPESTATUS[0]}}")
    assert done.stderr == ""
    assert done.stdout.splitlines()[1:] == ["code 0"]


def test_a_broken_pipe_is_met_while_it_writes(world: World) -> None:
    """Else the test above shows nothing: the output is more than a pipe holds."""
    assert len(world.md("list").stdout) > 65536


def test_a_reader_of_stderr_that_is_gone_changes_nothing(world: World) -> None:
    done = world.shell("exec 3>&1; { md find nothing 2>&1 >/dev/null; echo code $? >&3; } | true")
    assert done.stdout == "code 1\n"


@pytest.mark.parametrize(
    ("command", "code"),
    [("list", 0), ("find nothing", 1), ("query straße", 0)],
)
@pytest.mark.parametrize("closed", [">&-", "<&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_leave_the_exit_code_as_it_is(world: World, command: str, code: int, closed: str) -> None:
    done = world.shell(f"md {command} {closed}")
    assert done.returncode == code
    assert "Traceback" not in done.stderr


def test_with_stderr_closed_stdout_is_as_ever(world: World) -> None:
    assert world.shell("md find straße 2>&-").stdout == "127.0.0.1:8080\n"


def test_with_stdout_closed_nothing_is_said_about_it(world: World) -> None:
    assert world.shell("md lookup straße >&-").stderr == ""


def test_no_socket_gets_the_number_of_a_closed_stream(world: World) -> None:
    """What is meant for the stream, by whomever, would go to a peer."""
    script = (
        "from mddns.cli.parts.streams import prepare; import socket; prepare(); print(socket.socket().fileno() > 2)"
    )
    assert world.shell(f"'{sys.executable}' -c '{script}' <&- 2>&-").stdout == "True\n"


def test_advertise_without_stdin_says_what_is_missing(world: World) -> None:
    done = world.shell("md --port 1 advertise - <&-")
    assert done.returncode == 2
    assert "standard input" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["list", "query straße", "list -o json", "--help"])
def test_a_full_disk_is_told(world: World, command: str) -> None:
    done = world.shell(f"md {command} > /dev/full")
    assert done.returncode == 74
    assert done.stderr == f"md: standard output cannot be written: {os.strerror(errno.ENOSPC)}\n"


def test_a_full_disk_for_messages_changes_nothing(world: World) -> None:
    assert world.shell("md find nothing 2> /dev/full").returncode == 1
    assert world.shell("md fnid 2> /dev/full").returncode == 2


# --- home and cache ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("home", [None, "{}/gone", "/dev/null", "relative", ""])
def test_without_a_home_nothing_is_remembered_and_nothing_said(world: World, tmp_path: Path, home: str | None) -> None:
    done = world.md("lookup", "straße", "-o", "name", env={"HOME": home and home.format(tmp_path)})
    assert (done.returncode, done.stdout, done.stderr) == (0, "127.0.0.1:8080\n", "")
    assert not (tmp_path / "gone").exists(), "a home is not ours to make"
    assert not (world.directory / "relative").exists()


def test_a_cache_that_cannot_be_written_is_none(world: World, tmp_path: Path) -> None:
    """A file stands where a directory should be: that stops root, too."""
    (tmp_path / "cache").write_text("")
    done = world.md("lookup", "straße", "-o", "name", env={"XDG_CACHE_HOME": str(tmp_path / "cache")})
    assert (done.returncode, done.stdout, done.stderr) == (0, "127.0.0.1:8080\n", "")


def test_a_read_only_cache_is_read_and_left_alone(world: World, tmp_path: Path) -> None:
    """Root may write everywhere, so it gives up that."""
    if UNPRIVILEGED and not shutil.which("setpriv"):
        pytest.skip("setpriv is not installed")
    cache = tmp_path / "mddns"
    cache.mkdir()
    (cache / "peers.json").write_text("{}")
    cache.chmod(0o555)
    env = f"XDG_CACHE_HOME='{tmp_path}'"
    done = world.shell(f"{env} {UNPRIVILEGED} '{sys.executable}' -m mddns lookup straße -o name")
    assert (done.returncode, done.stdout, done.stderr) == (0, "127.0.0.1:8080\n", "")
    assert [path.name for path in cache.iterdir()] == ["peers.json"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"x": 1}', "\x00" * 100, "[" * 100_000])
def test_a_broken_cache_is_none(world: World, tmp_path: Path, content: str) -> None:
    (tmp_path / "mddns").mkdir()
    (tmp_path / "mddns" / "peers.json").write_text(content)
    done = world.md("lookup", "straße", "-o", "name", env={"XDG_CACHE_HOME": str(tmp_path)})
    assert (done.returncode, done.stdout, done.stderr) == (0, "127.0.0.1:8080\n", "")
    assert str(world.ports["bravo"]) in (tmp_path / "mddns" / "peers.json").read_text()


def test_a_relative_cache_home_is_taken_for_none(world: World) -> None:
    """So the XDG Base Directory Specification wants it."""
    assert world.md("lookup", "straße", "-o", "name", env={"XDG_CACHE_HOME": "cache"}).returncode == 0
    assert not (world.directory / "cache").exists()
    assert (world.directory / ".cache/mddns/peers.json").exists()


# --- locale -----------------------------------------------------------------------------------------------------------


LOCALES = [
    {},
    {"LC_ALL": "C"},
    {"LC_ALL": "POSIX"},
    {"LC_ALL": "xx_YY.nothing"},
    {"LC_ALL": "C.UTF-8"},
    {"PYTHONIOENCODING": "ascii"},  # click takes it for a mistake, and prints UTF-8
]


@pytest.mark.parametrize("env", LOCALES, ids=str)
def test_umlauts_are_found_and_printed_whatever_the_locale(world: World, env: dict[str, str]) -> None:
    done = world.md("lookup", "straße", env=env)
    assert done.stdout.splitlines()[1].split() == ["straße", "127.0.0.1:8080", "name=Müller", "bravo"]
    assert done.stderr == ""


@pytest.mark.parametrize("command", [["fü"], ["list", "--fü"], ["advertise", "fü.yaml"]], ids=str)
@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_messages_survive_an_encoding_without_all_characters(world: World, command: list[str], encoding: str) -> None:
    done = world.md(*command, env={"PYTHONIOENCODING": encoding}, encoding="latin-1")
    assert done.returncode in (0, 1, 2)
    assert "Traceback" not in done.stderr


def test_what_an_encoding_lacks_is_escaped(world: World) -> None:
    """Latin-1 has no ellipsis, which --help has."""
    done = world.md("--help", env={"PYTHONIOENCODING": "latin-1"}, encoding="latin-1")
    assert "MDDNS_\\u2026" in done.stdout


def test_without_any_locale_support_octets_are_told_to_be_no_text(world: World) -> None:
    off = {"PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "LC_ALL": "C"}
    assert world.md("list", env=off).returncode == 0
    done = world.md("lookup", "straße", "-o", "name", env=off)
    assert (done.returncode, "not valid UTF-8" in done.stderr) == (2, True)


def test_octets_that_are_no_utf8_are_no_name(world: World) -> None:
    done = world.shell("md find $'\\xff\\x1b[2J'")
    assert done.returncode == 2
    assert "not valid UTF-8" in done.stderr
    assert "\x1b" not in done.stderr
