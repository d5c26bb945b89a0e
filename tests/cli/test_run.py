"""`md run`: a service for as long as a program runs and its port accepts."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from bed.host import PORT, Host
from bed.hosts import Bed
from bed.process import Process, wait_until
from conftest import MakeBed
from inside import md_inside
from loopback import free_port

from mddns import sync
from mddns.base.offer import make
from mddns.cli.parts import port_accepts
from mddns.cli.parts.port_accepts import AWHILE, FIRST_PAUSE, LONGEST_PAUSE, UP_PAUSE, Standing
from mddns.networks.settings import Settings

Run = Callable[..., Process]

# Listens at its machine's address when there is a file `go`; ends by SIGTERM with 7.
SERVER = """
import os, signal, socket, sys, time
signal.signal(signal.SIGTERM, lambda *_: os._exit(7))
while not os.path.exists("go"):
    time.sleep(0.01)
listener = socket.create_server((sys.argv[1], 8080))
print("listening", flush=True)
while True:
    listener.accept()[0].close()
"""

# Says the signals that it gets; ends at the fifth line of input, or by SIGTERM with 15.
SIGNALLED = """
import os, signal, sys, time
def got(number, _):
    os.write(1, f"got {signal.Signals(number).name}\\n".encode())  # in one piece: another signal may come between
    if number == signal.SIGTERM:
        os._exit(15)
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGQUIT):
    signal.signal(number, got)
print("ready", flush=True)
while True:
    time.sleep(0.01)
"""


@pytest.fixture(scope="module")
def bed(make_module_bed: MakeBed) -> Bed:
    return make_module_bed(["alpha", "bravo"])


@pytest.fixture
def alpha(bed: Bed) -> Iterator[Host]:
    host = bed.host("alpha")
    yield host
    (host.directory / "go").unlink(missing_ok=True)


def python(program: str, *words: str) -> list[str]:
    return [sys.executable, "-c", program, *words]


@pytest.fixture
def run(alpha: Host) -> Iterator[Run]:
    """`run("cmd", …)`: `md run web :8080 -- cmd …` until the test ends; by UDP, so that nothing waits for a port."""
    with ExitStack() as stack:

        def start(*command: str, udp: bool = True) -> Process:
            words = ["md", "run", "web", ":8080", *(("--protocol", "udp") if udp else ()), "--", *command]
            return stack.enter_context(alpha.start(words))

        yield start


def asked(bed: Bed, *words: str) -> str:
    """What `md` prints on the other host, which remembers nothing: who refused before is asked again."""
    return bed.host("bravo").run(["md", *words], env={"XDG_CACHE_HOME": "/dev/null"}).stdout


def is_found(bed: Bed) -> bool:
    return asked(bed, "find", "web") != ""


# --- up and down ------------------------------------------------------------------------------------------------------


@pytest.mark.quick
def test_it_is_advertised_once_the_port_accepts_and_withdrawn_at_the_end(bed: Bed, alpha: Host, run: Run) -> None:
    process = run(*python(SERVER, alpha.ipv4), udp=False)
    assert not is_found(bed)  # it takes longer than the program to start
    (alpha.directory / "go").touch()
    process.wait_for("advertised, until CMD ends. To find it: md lookup web")
    assert "listening" in process.stdout
    assert json.loads(asked(bed, "lookup", "web", "-o", "json"))[0]["addrPort"] == f"{alpha.ipv4}:8080"
    assert process.terminate() == 7
    assert not is_found(bed)


@pytest.mark.quick
def test_labels_and_flags_are_those_of_advertise(bed: Bed, alpha: Host) -> None:
    command = ["md", "run", "web", ":8080", "env=prod", "--weight", "5", "--protocol", "udp", "--priority", "1"]
    with alpha.start([*command, "--", "sleep", "60"]) as process:
        process.wait_for("advertised")
        (found,) = json.loads(asked(bed, "lookup", "web", "-o", "json"))
        assert [found[key] for key in ("labels", "weight", "protocol", "priority")] == [{"env": "prod"}, 5, "udp", 1]


def test_a_port_of_loopback_alone_is_not_advertised_but_told(bed: Bed, alpha: Host, run: Run) -> None:
    (alpha.directory / "go").touch()
    with run(*python(SERVER, "127.0.0.1"), udp=False) as process:
        line = process.wait_for("accepts only at 127.0.0.1")
        assert line.endswith(f"let CMD listen on 0.0.0.0 or on {alpha.ipv4}")
        assert not is_found(bed)


def test_a_port_that_accepts_already_is_told(alpha: Host, run: Run) -> None:
    with alpha.socket_tcp(8080):
        process = run("sleep", "0.3", udp=False)
        process.wait_for("port 8080 accepts connections before CMD runs: another program uses it")
        assert process.wait() == 0


def test_a_port_is_up_from_its_first_accept_until_it_has_refused_for_a_while() -> None:
    standing = Standing()
    standing.probed(False, 99.0)
    assert not standing.up
    standing.probed(True, 100.0)
    standing.probed(False, 100.0 + AWHILE - 0.1)
    assert standing.up
    standing.probed(False, 100.0 + AWHILE)
    assert not standing.up
    standing.probed(True, 200.0)
    assert standing.up


def test_a_port_that_refuses_is_probed_ever_more_rarely_one_that_accepts_rarely() -> None:
    standing = Standing()
    pauses = []
    for _ in range(20):
        standing.probed(False, 1.0)
        pauses.append(standing.pause)
    assert (pauses[0], pauses[-1]) == (FIRST_PAUSE, LONGEST_PAUSE)
    assert pauses == sorted(pauses)
    standing.probed(True, 2.0)
    assert standing.pause == UP_PAUSE
    standing.probed(False, 3.0)
    assert standing.pause == FIRST_PAUSE


def test_a_port_that_stops_accepting_is_withdrawn_and_comes_back(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    accepts = threading.Event()
    monkeypatch.setattr(port_accepts, "accepts", lambda *_: accepts.is_set())
    for name, value in (("AWHILE", 0.05), ("UP_PAUSE", 0.01), ("LONGEST_PAUSE", 0.01), ("FIRST_PAUSE", 0.01)):
        monkeypatch.setattr(port_accepts, name, value)
    settings = Settings.of("static:127.0.0.93", port=28093, environ={})
    with sync.Registry(settings) as registry, port_accepts.offered(make(80, "web"), registry, settings):
        for _ in range(2):
            accepts.set()
            assert wait_until(lambda: len(registry.services()) == 1)
            accepts.clear()
            assert wait_until(lambda: not registry.services())
    said = capsys.readouterr().err
    assert said.count("To find it: md lookup") == 1
    assert said.count("web 127.0.0.93:80 has not accepted connections for 0.05 s: withdrawn until it does") == 2
    assert said.count("web 127.0.0.93:80 accepts again: advertised") == 1


# --- the program ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["true"], 0),
        (["sh", "-c", "exit 42"], 42),
        (["sh", "-c", "exit 3"], 3),
        (["sh", "-c", "kill -9 $$"], 128 + 9),
        (["sh", "-c", "kill -SEGV $$"], 128 + 11),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_the_exit_code_is_the_programs(run: Run, command: list[str], code: int) -> None:
    assert run(*command).wait() == code


@pytest.mark.quick
@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("nope", 127, "nope cannot be run: it is not in PATH"),
        ("./nope", 127, "./nope cannot be run: it does not exist"),
        ("./plain", 126, f"./plain cannot be run: {os.strerror(errno.EACCES)}; is it executable (chmod +x)?"),
        ("./text", 126, f"./text cannot be run: {os.strerror(errno.ENOEXEC)}; does its first line begin with #!?"),
        ("./lost", 126, "./lost cannot be run: the interpreter that its first line names does not exist"),
        ("/", 126, f"/ cannot be run: {os.strerror(errno.EACCES)}"),
    ],
)
def test_what_cannot_be_run_is_told(alpha: Host, command: str, code: int, said: str) -> None:
    for name, text, mode in (("plain", "", 0o644), ("text", "words", 0o755), ("lost", "#!/nowhere/sh\n", 0o755)):
        path = alpha.directory / name
        path.write_text(text)
        path.chmod(mode)
    done = alpha.run(["md", "run", "web", ":8080", "--", command])
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(f"md: {said}")


def test_stdin_and_stdout_are_the_programs(alpha: Host) -> None:
    done = alpha.run(["md", "run", "web", ":8080", "--", "cat"], stdin="in\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, "in\n", "")


def test_what_stands_behind_the_dashes_is_the_programs(alpha: Host) -> None:
    words = ["a=b", "--help", "--", "-o", "", "--weight"]
    done = alpha.run(["md", "run", "web", ":8080", "--", "printf", "%s|", *words])
    assert done.stdout == "".join(f"{word}|" for word in words)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
@pytest.mark.parametrize("role", ["holder", "tenant"])
def test_the_program_inherits_nothing_of_ours(alpha: Host, role: str) -> None:
    """Not the sockets that the holder of the port hands to us, either."""
    look = python("import os; print(os.listdir('/proc/self/fd'))")  # which opens one itself, the lowest that is free
    with ExitStack() as stack:
        if role == "tenant":
            holder = stack.enter_context(alpha.start(["md", "advertise", "db", ":5432"]))
            holder.wait_for("advertised")
        assert alpha.run(["md", "run", "web", ":8080", "--", *look]).stdout == "['0', '1', '2', '3']\n"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_the_program_has_the_usual_signals(alpha: Host) -> None:
    look = ["grep", "-E", "Sig(Blk|Ign)", "/proc/self/status"]

    def masks(command: list[str]) -> list[int]:
        """Blocked and ignored, without the two (32, 33) that glibc has for itself."""
        return [int(line.split()[1], 16) & 0x7FFFFFFF for line in alpha.run(command).stdout.splitlines()]

    assert masks(["md", "run", "web", ":8080", "--", *look]) == masks(look)


def test_what_was_ignored_stays_so_under_nohup(alpha: Host) -> None:
    done = alpha.run(["sh", "-c", "trap '' HUP; exec md run web :8080 -- sh -c 'kill -HUP $$; echo lives'"])
    assert done.stdout == "lives\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2])
def test_signals_are_passed_on(run: Run, number: signal.Signals) -> None:
    process = run(*python(SIGNALLED))
    process.wait_for("ready")
    process.signal(number)
    process.wait_for(f"got {number.name}")
    assert process.terminate() == 15
    assert process.stdout.splitlines() == ["ready", f"got {number.name}", "got SIGTERM"]
    assert "Traceback" not in process.stderr


@pytest.mark.quick
def test_a_signal_that_ends_the_program_is_in_our_exit_code(alpha: Host, run: Run) -> None:
    process = run("sleep", "60")
    process.wait_for("advertised")

    def sleeps() -> bool:
        statuses = Path("/proc").glob("[0-9]*/stat")
        with contextlib.suppress(OSError):  # of others that end meanwhile
            return any(f" (sleep) S {process.pid} " in status.read_text() for status in statuses)
        return False

    assert wait_until(sleeps)
    assert process.terminate() == 128 + signal.SIGTERM


def test_ctrl_c_reaches_the_program_once(alpha: Host) -> None:
    """The terminal sends it to both; passed on as well, it would mean "at once"."""
    master, slave = os.openpty()
    taking = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execvp('md', sys.argv[1:])"
    command = ["md", "run", "web", ":8080", "--protocol", "udp", "--", *python(SIGNALLED)]
    line = shlex.join([*python(taking), *command])
    with alpha.start(["sh", "-c", f"exec {line} < {os.ttyname(slave)}"]) as process:
        process.wait_for("ready")
        os.write(master, b"\x03")
        process.wait_for("got SIGINT")
        process.signal(signal.SIGUSR1)  # what came before it is there when it is
        process.wait_for("got SIGUSR1")
        assert process.stdout.splitlines() == ["ready", "got SIGINT", "got SIGUSR1"]
        assert process.terminate() == 15
    os.close(slave)
    os.close(master)


def test_signals_that_come_together_are_all_passed_on(run: Run) -> None:
    process = run(*python(SIGNALLED))
    process.wait_for("ready")
    numbers = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGQUIT)
    for number in numbers:
        process.signal(number)
    for number in numbers:
        process.wait_for(f"got {number.name}")
    assert process.terminate() == 15


def test_a_parent_that_ignores_sigchld_changes_nothing(alpha: Host) -> None:
    program = "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.execvp('md', sys.argv[1:])"
    assert alpha.run(python(program, "md", "run", "web", ":8080", "--", "sh", "-c", "exit 9")).returncode == 9


@pytest.mark.namespaces
def test_a_port_that_is_connected_to_itself_does_not_accept(bed: Bed) -> None:
    """TCP allows it, where outgoing connections get just that port."""
    bravo = bed.host("bravo")
    look = (
        "from mddns.host.health_checks import accepts; print(sum(accepts('100.64.0.2', 40000, 1) for _ in range(20)))"
    )
    connect = (
        "import socket; s = socket.create_connection(('100.64.0.2', 40000)); print(s.getsockname() == s.getpeername())"
    )
    ports = Path("/proc/sys/net/ipv4/ip_local_port_range")
    before = bravo.call(ports.read_text)
    bravo.call(ports.write_text, "40000 40000")
    try:
        assert bravo.run(python(connect)).stdout == "True\n"
        assert bravo.run(python(look)).stdout == "0\n"
    finally:
        bravo.call(ports.write_text, before)


# --- what is wrong before ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["web", ":8080"], "the command to run is missing; write it after '--', as in: md run web :8080 -- CMD"),
        (["web", ":8080", "--"], "the command to run is missing"),
        (["web", "--", "touch", "ran"], "the address after 'web' is missing, as in: md run web :8080"),
        (["web", ":8080", "touch", "ran"], "'touch' is not a label"),
        (["--", "touch", "ran"], "NAME ADDRESS"),
        (["ns", ":8080", "--", "touch", "ran"], "service name 'ns': reserved"),
        (["web", ":8080", "-o", "json", "--", "touch", "ran"], "output 'json'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_words_are_answered_and_nothing_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, words: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = md_inside(monkeypatch, capsys)("run", *words)
    assert (code, out) == (2, "")
    assert said in err
    assert not Path("ran").exists()


def test_the_port_that_we_answer_on_is_nobody_elses(alpha: Host) -> None:
    done = alpha.run(["md", "run", "web", f":{PORT}", "--", "touch", "ran"])
    assert done.returncode == 2
    assert f"port {PORT} is the port where mddns itself answers" in done.stderr
    assert not (alpha.directory / "ran").exists()


@pytest.mark.quick
@pytest.mark.parametrize("fault", ["no network", "port taken"])
def test_where_we_cannot_answer_nothing_runs(alpha: Host, fault: str) -> None:
    env: dict[str, Any] = {"TS_SOCKET": "/nowhere"} if fault == "no network" else {}
    with alpha.socket_udp(PORT if fault == "port taken" else 0):
        done = alpha.run(["md", "run", "--wait", "0", "web", ":8080", "--", "touch", "ran"], env=env)
    assert done.returncode == 3
    assert ("/nowhere" if fault == "no network" else f"{alpha.ipv4}:{PORT}") in done.stderr
    assert not (alpha.directory / "ran").exists()


# Leaves five orphans behind, says how many of its parent's children are zombies by then, and ends with 7.
FORGETFUL = """
import os, pathlib, subprocess, sys, time
for _ in range(5):
    subprocess.run(["sh", "-c", "sleep 0.05 &"])
time.sleep(0.6)
stats = [path.read_text().rpartition(") ")[2].split() for path in pathlib.Path("/proc").glob("[0-9]*/stat")]
print(sum(state == "Z" and int(parent) == os.getppid() for state, parent, *_ in stats), flush=True)
sys.exit(7)
"""
# A process that orphans below it are given to, as process 1 of a container is.
SUBREAPER = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_CHILD_SUBREAPER is Linux's")
def test_orphans_are_reaped_and_the_programs_own_exit_code_counts() -> None:
    where = f"static:127.0.0.1:{free_port()}"
    md = ["-m", "mddns", "--network", where, "run", "web", ":8080", "--protocol", "udp", "--", *python(FORGETFUL)]
    done = subprocess.run([*python(SUBREAPER), *md], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.returncode) == ("0\n", 7), done.stderr
