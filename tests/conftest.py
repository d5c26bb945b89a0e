"""Test beds, the marker `thorough`, the check that a test leaves nothing running, and the duration of test files.

`make test` must take a few minutes only, so it leaves out tests marked `thorough`: those of whole hosts, of other
client programs, and of other nameservers. Most get the marker here, by their fixtures or their folder. To keep a test
in every run, mark it `quick`; to leave out a slow one, mark it `thorough`.

On a machine without network namespaces, a bed uses loopback, and tests marked `namespaces` are skipped. In CI
(CI=true) both fail, because otherwise most of the tests would show nothing. The number of tests that ran on namespaces
is printed at the end, and written to the file named by MDDNS_NAMESPACE_COUNT_FILE.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import hypothesis
import pytest
from bed import netns
from bed.alone import turn
from bed.hosts import Bed
from bed.process import wait_until
from bed.tailnet import Node
from places import TESTS

COUNT_FILE = "MDDNS_NAMESPACE_COUNT_FILE"
LEFT_SECONDS = "MDDNS_TEST_LEFT_SECONDS"
"""Seconds that threads and processes of a test have to end; mostly they need none."""

_THOROUGH_FOLDERS = ("hosts", "clients", "secondaries")
_THOROUGH_FIXTURES = frozenset({"make_bed", "make_module_bed"})
_THOROUGH_MARKERS = ("namespaces", "alone")
_FILES_SHOWN = 25
"""The number of files in the table of times, slowest first; `-v` shows all."""
# No deadline: how long an example takes depends on the machine and its load, so that must not fail a test.
hypothesis.settings.register_profile("mddns", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("mddns")

_ran_on_namespaces: set[str] = set()
_seconds_of_files: defaultdict[str, float] = defaultdict(float)
_tests_of_files: defaultdict[str, set[str]] = defaultdict(set)


Measured = Callable[[str], None]
_measurements: list[str] = []


class MakeBed(Protocol):
    """The type of `make_bed` and `make_module_bed`: creates a bed that exists until the test or module ends."""

    def __call__(self, hosts: Iterable[str | Node], others: Iterable[Node] = ()) -> Bed: ...


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """`-n auto`: several workers only if each can have its own network namespace, since tests share loopback ports.

    Thorough tests mostly wait, so they get one worker more than there are processors.
    """
    if netns.why_not():
        return 0
    return max(2, os.cpu_count() or 1) + (config.option.markexpr == "thorough")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--quick",
        action="store_true",
        help="leave out tests marked `thorough`, unless files, -k or -m name what to run",
    )


def pytest_configure(config: pytest.Config) -> None:
    _heed_signals()
    if hasattr(config, "workerinput"):
        netns.move_apart()
    if config.getoption("quick") and not _names_tests(config):  # each worker of xdist reads the command line itself
        config.option.markexpr = "not thorough"
    config.addinivalue_line("markers", "thorough: left out of `make test`, as it takes long; most get it in conftest")
    config.addinivalue_line("markers", "quick: stays in `make test`, though conftest would call it thorough")
    config.addinivalue_line("markers", "namespaces: shows what only network namespaces can show")
    config.addinivalue_line("markers", "alone: measures what has a limit, so nothing else runs meanwhile")


def _names_tests(config: pytest.Config) -> bool:
    """Whether the command line says which tests to run."""
    named = config.args_source is pytest.Config.ArgsSource.ARGS
    return named or bool(config.option.keyword or config.option.markexpr or config.option.deselect)


@pytest.hookimpl(tryfirst=True)  # before `-m` looks at the markers
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _is_thorough(item):
            item.add_marker(pytest.mark.thorough)


def _is_thorough(item: pytest.Item) -> bool:
    if item.get_closest_marker("quick") is not None:
        return False
    fixtures: Iterable[str] = getattr(item, "fixturenames", ())  # also the fixtures of its fixtures
    return (
        any(item.path.is_relative_to(TESTS / folder) for folder in _THOROUGH_FOLDERS)
        or not _THOROUGH_FIXTURES.isdisjoint(fixtures)
        or any(item.get_closest_marker(marker) is not None for marker in _THOROUGH_MARKERS)
    )


def pytest_runtest_setup(item: pytest.Item) -> None:
    reason = netns.why_not()
    if reason is None or item.get_closest_marker("namespaces") is None:
        return
    _fail_in_ci()
    pytest.skip(f"needs network namespaces: {reason}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    before = Bed.uses
    try:
        with turn(item.get_closest_marker("alone") is not None):
            return (yield)
    finally:
        if Bed.uses != before:
            _ran_on_namespaces.add(item.nodeid)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    file = report.nodeid.partition("::")[0]
    _seconds_of_files[file] += report.duration
    _tests_of_files[file].add(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["told"] = (sorted(_ran_on_namespaces), _measurements)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """A worker ended: collects its results for the end of the run."""
    ran, measurements = getattr(node, "workeroutput", {}).get("told", ((), ()))
    _ran_on_namespaces.update(ran)
    _measurements.extend(measurements)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in _times(everything=terminalreporter.config.get_verbosity() > 0):
        terminalreporter.write_line(line)
    for line in _measurements:
        terminalreporter.write_line(f"measured: {line}")
    count = len(_ran_on_namespaces)
    reason = netns.why_not()
    terminalreporter.write_line(
        f"namespaces: {count} tests ran on network namespaces" + (f" ({reason})" if reason else "")
    )
    if os.environ.get(COUNT_FILE):
        Path(os.environ[COUNT_FILE]).write_text(f"{count}\n")


def _times(everything: bool) -> Iterator[str]:
    """A line for each test file, slowest first: its seconds, tests and name."""
    files = sorted(_seconds_of_files, key=lambda file: -_seconds_of_files[file])
    shown = files if everything else files[:_FILES_SHOWN]
    for file in shown:
        count = len(_tests_of_files[file])
        yield f"{_seconds_of_files[file]:7.1f} s {count:5} test{'s' * (count != 1):1} {file}"
    if len(shown) < len(files):
        rest = sum(_seconds_of_files[file] for file in files[len(shown) :])
        yield f"{rest:7.1f} s in {len(files) - len(shown)} other files; -v shows them"


@pytest.fixture
def make_bed() -> Iterator[MakeBed]:
    """`make_bed(["alpha", "bravo"], others=[phone()])`: a bed until the test ends."""
    with ExitStack() as stack:
        yield _maker(stack)


@pytest.fixture(scope="module")
def make_module_bed() -> Iterator[MakeBed]:
    """As `make_bed`, until the module ends: for fixtures of a module whose tests do not change the hosts."""
    with ExitStack() as stack:
        yield _maker(stack)


@pytest.fixture
def measured() -> Measured:
    """`measured("…")` prints a line at the end of the run. Times are printed there, never asserted."""
    return _measurements.append


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Fails a test that leaves a thread or a child process running."""
    threads, children = set(threading.enumerate()), _children()
    yield

    def left() -> list[str]:
        new = [f"thread {t.name}" for t in threading.enumerate() if t not in threads]
        return new + [f"process {pid}: {name}" for pid, name in _children().items() if pid not in children]

    wait_until(lambda: not left(), float(os.environ.get(LEFT_SECONDS, "5")))
    assert not left(), "the test left something running"


def _maker(stack: ExitStack) -> MakeBed:
    def make(hosts: Iterable[str | Node], others: Iterable[Node] = ()) -> Bed:
        _fail_in_ci()
        return stack.enter_context(Bed(hosts, others))

    return make


def _heed_signals() -> None:
    """Handles the signals that this process ignores as a shell's background job or under nohup.

    A child process inherits ignored signals, but not handlers. So the programs that tests start would ignore them too.
    """
    handlers: list[tuple[int, Any]] = [
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGQUIT, signal.SIG_DFL),
        (signal.SIGHUP, _nothing),
    ]
    for number, handler in handlers:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


def _nothing(number: int, frame: object) -> None:
    """Handles SIGHUP by doing nothing, since nohup protects the run from it."""


def _fail_in_ci() -> None:
    """In CI, fails without network namespaces, unless the variable for loopback is set."""
    reason = netns.why_not()
    if reason and os.environ.get("CI") == "true" and os.environ.get(netns.FORCE_LOOPBACK) != "1":
        pytest.fail(f"CI must have network namespaces: {reason}", pytrace=False)


def _children() -> dict[int, str]:
    """The names of our child processes by pid; empty where there is no /proc."""
    found: dict[int, str] = {}
    own = os.getpid()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, _, rest = stat.read_text().partition(" (")
        except OSError:  # it ended meanwhile
            continue
        name, _, fields = rest.rpartition(") ")
        if int(fields.split()[1]) == own:
            found[int(pid)] = name
    return found
