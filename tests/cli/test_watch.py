"""`md watch` on a terminal: a table that is drawn anew where it stands; and in a pipe. What `md wait` knows."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from program import MD, Deaf, World

import mddns
from mddns.base.errors import NetworkError
from mddns.base.model import Endpoint, Service
from mddns.cli.parts.one_lookup import look
from mddns.cli.parts.options import options_of
from mddns.cli.watch import _line
from mddns.lookup.query import Found, Query
from mddns.watching.events import Event

PATIENCE = 20.0


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path, ("asker", "alpha")) as made:
        yield made


class Terminal:
    """A program on a terminal, and its screen: it understands what `md watch` writes, and nothing more."""

    def __init__(self, main: int, width: int) -> None:
        self._main = main
        self._width = width
        self.written = ""

    def lines(self) -> list[str]:
        """The screen as it is."""
        lines, at = [""], 0
        for part in re.split(r"(\x1b\[\d*[A-Za-z]|\r?\n|\r)", self.written):
            if moved := re.fullmatch(r"\x1b\[(\d+)A", part):
                at -= int(moved[1])
                assert at >= 0, "it has moved above its own lines"
            elif part == "\x1b[J":
                del lines[at:]
                lines.append("")
            elif part in ("\r", ""):
                continue
            elif part.endswith("\n"):
                at += 1
                lines += [""] * (at + 1 - len(lines))
            elif not part.endswith("m"):
                rows = self._rows(part)
                lines[at : at + len(rows)] = rows
                at += len(rows) - 1
        return [line for line in lines if line]

    def _rows(self, text: str) -> list[str]:
        """What one line takes: more than one row where it is wider than the terminal."""
        rows, column = [""], 0
        for char in text:
            wide = 2 if unicodedata.east_asian_width(char) in "WF" else 1
            if column + wide > self._width:
                rows.append("")
                column = 0
            rows[-1] += char
            column += wide
        return rows

    def until(self, condition: Callable[[list[str]], bool]) -> list[str]:
        """Reads on until the screen is so."""
        deadline = time.monotonic() + PATIENCE
        while not condition(self.lines()):
            assert time.monotonic() < deadline, self.written
            if select.select([self._main], [], [], 0.1)[0]:
                self.written += os.read(self._main, 65536).decode()
        return self.lines()


@contextmanager
def watched(
    world: World, *args: str, height: int = 24, width: int = 80
) -> Iterator[tuple[Terminal, subprocess.Popen[bytes]]]:
    main, sub = pty.openpty()
    fcntl.ioctl(sub, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
    env = {**world.env("asker"), "TERM": "xterm", "NO_COLOR": "1"}
    env.pop("COLUMNS", None)
    with subprocess.Popen([*MD, "watch", *args], env=env, stdin=sub, stdout=sub, start_new_session=True) as program:
        os.close(sub)
        try:
            yield Terminal(main, width), program
        finally:
            program.kill()
            os.close(main)


def registry(world: World) -> mddns.Registry:
    return mddns.start_registry(world.spec("alpha"))


def test_the_table_follows_what_happens_in_its_place_and_ctrl_c_is_no_failure(world: World) -> None:
    with registry(world) as offering, watched(world) as (terminal, program):
        terminal.until(lambda lines: lines == ["no service of any name yet; Ctrl-C to stop"])
        web = offering.advertise_service(8080, "web", {"v": "1"})
        row = ["web", "127.0.0.1:8080", "v=1", "alpha"]
        terminal.until(lambda lines: [line.split() for line in lines] == [["NAME", "ADDRESS", "LABELS", "HOST"], row])
        offering.advertise_service(8081, "db")
        web.update({"v": "2"})
        lines = terminal.until(lambda lines: len(lines) == 3 and "v=2" in lines[-1])
        assert [line.split()[0] for line in lines] == ["NAME", "db", "web"]
        web.withdraw()
        terminal.until(lambda lines: len(lines) == 2)
        program.send_signal(signal.SIGINT)
        assert program.wait(PATIENCE) == 0


def test_more_than_the_screen_holds_is_counted(world: World) -> None:
    with registry(world) as offering, watched(world, "web", height=6) as (terminal, _):
        for port in range(9000, 9020):
            offering.advertise_service(port, "web")
        lines = terminal.until(lambda lines: lines[-1:] == ["and 17 more"])
        assert len(lines) == 5


@pytest.mark.parametrize(
    ("name", "labels", "args", "width"),
    [
        ("web", {"env": "prod"}, ["-o", "wide"], 80),
        ("a-service-with-a-name-that-is-long-but-allowed", {}, [], 60),
        ("日本語日本語日本語", {"x": "あ" * 30}, [], 41),
        ("web", {"env": "prod"}, [], 3),
    ],
    ids=["wide", "a long name", "characters of two columns", "three columns"],
)
def test_no_line_is_wider_than_the_terminal_so_nothing_remains_of_what_was_drawn_before(
    world: World, name: str, labels: dict[str, str], args: list[str], width: int
) -> None:
    with registry(world) as offering:
        service = offering.advertise_service(8080, name, labels)
        with watched(world, *args, width=width) as (terminal, _):
            terminal.until(lambda lines: len(lines) >= 2)
            drawn = terminal.written
            service.update(labels={})
            offering.advertise_service(8081, name, labels)
            lines = terminal.until(lambda lines: terminal.written != drawn and len(lines) >= 3)
            assert [line[:2] for line in lines] == ["NA", name[:2], name[:2]]


def test_what_is_said_of_an_empty_table_is_no_wider_either(world: World) -> None:
    with registry(world) as offering, watched(world, "a-name-that-nobody-has", width=20) as (terminal, _):
        terminal.until(lambda lines: lines == ["no service 'a-name-…"])
        offering.advertise_service(8080, "a-name-that-nobody-has")
        lines = terminal.until(lambda lines: len(lines) >= 2)
        assert [line[:4] for line in lines] == ["NAME", "a-na"]


def test_an_age_in_the_table_goes_on_though_nothing_happens(world: World) -> None:
    with registry(world) as offering, watched(world, "-o", "wide", width=150) as (terminal, _):
        offering.advertise_service(8080, "web")

        def age(lines: list[str]) -> int:
            return int(lines[1].split()[-2][:-1]) if len(lines) == 2 else -1

        terminal.until(lambda lines: age(lines) >= 0)
        first = age(terminal.lines())
        terminal.until(lambda lines: age(lines) > first)


def test_it_ends_when_its_reader_has_left_though_nothing_happens(world: World) -> None:
    with registry(world) as offering:
        offering.advertise_service(8080, "web")
        with subprocess.Popen([*MD, "watch"], env=world.env("asker"), stdout=subprocess.PIPE, text=True) as program:
            try:
                assert program.stdout
                while program.stdout.readline() != "current\n":
                    assert program.poll() is None
                program.stdout.close()
                assert program.wait(PATIENCE) == 0
            finally:
                program.kill()


@pytest.mark.parametrize("output", ["a file", "a device", "a pipe", "a pipe that is full"])
def test_whoever_reads_on_or_reads_later_has_not_left(output: str, tmp_path: Path) -> None:
    script = "import sys, mddns.cli.parts.streams as s; sys.stderr.write(str(s.reader_left()))"
    ends = os.pipe() if "pipe" in output else ()
    if ends:
        os.set_blocking(ends[1], False)
        with suppress(BlockingIOError):
            while output.endswith("full"):
                os.write(ends[1], bytes(4096))
    named = tmp_path / "out" if output == "a file" else Path(os.devnull)
    with named.open("wb") as file:
        done = subprocess.run(
            [sys.executable, "-c", script], stdout=ends[1] if ends else file, stderr=subprocess.PIPE, check=True
        )
    for end in ends:
        os.close(end)
    assert done.stderr == b"False"


def test_who_fell_silent_while_somebody_watched_counts_though_nobody_remembers_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with `md wait` where no peers.json tells of the registry that was there at the beginning."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with Deaf() as deaf:
        options = options_of({"network": [deaf.network], "timeout": "0.1"})
        assert look(Query.of("web"), options)[0].silent == ()
        with pytest.raises(NetworkError, match="1 of 1 peer was silent: deaf"):
            look(Query.of("web"), options, Found((), ("deaf",), 1))


def test_a_line_has_nothing_that_steers_a_terminal() -> None:
    service = Service("we\x1bb", {"k": "\x1b]0;x"}, Endpoint("100.64.0.1:80"), protocol="udp", host="h\nh")
    assert _line(Event("up", service)) == r"up      we\x1bb  100.64.0.1:80/udp  k=\x1b]0;x  h\x0ah"
