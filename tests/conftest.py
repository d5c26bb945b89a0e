"""Beds for tests, the `namespaces` marker, and the proof that a test leaves nothing running.

On a machine without network namespaces a bed stands on loopback and tests marked `namespaces` are skipped; in
CI (CI=true) that would hide most of what the tests show, so there both fail. How many tests truly ran on
namespaces is printed at the end, and written to the file that MDDNS_NAMESPACE_COUNT_FILE names.
"""

from __future__ import annotations

import os
import signal
import threading
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

COUNT_FILE = "MDDNS_NAMESPACE_COUNT_FILE"
LEFT_SECONDS = "MDDNS_TEST_LEFT_SECONDS"
"""How long threads and processes of a test have for ending; mostly they need no time at all."""

# How fast an example is decided by the machine, and by what else it does: nothing fails for that.
hypothesis.settings.register_profile("mddns", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("mddns")

_ran_on_namespaces: set[str] = set()


Measured = Callable[[str], None]
_measurements: list[str] = []


class MakeBed(Protocol):
    """What `make_bed` and `make_module_bed` give: a bed that stands until the test or module ends."""

    def __call__(self, hosts: Iterable[str | Node], others: Iterable[Node] = ()) -> Bed: ...


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """`-n auto`: side by side where each worker can have a network to itself, since tests share ports of loopback."""
    return 0 if netns.why_not() else max(2, os.cpu_count() or 1)


def pytest_configure(config: pytest.Config) -> None:
    _heed_signals()
    if hasattr(config, "workerinput"):
        netns.move_apart()
    config.addinivalue_line("markers", "namespaces: shows what only network namespaces can show")
    config.addinivalue_line("markers", "alone: measures what has a limit, so nothing else runs meanwhile")


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


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["told"] = (sorted(_ran_on_namespaces), _measurements)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """A worker ended: what it has to tell at the end of the run."""
    ran, measurements = getattr(node, "workeroutput", {}).get("told", ((), ()))
    _ran_on_namespaces.update(ran)
    _measurements.extend(measurements)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in _measurements:
        terminalreporter.write_line(f"measured: {line}")
    count = len(_ran_on_namespaces)
    reason = netns.why_not()
    terminalreporter.write_line(
        f"namespaces: {count} tests ran on network namespaces" + (f" ({reason})" if reason else "")
    )
    if os.environ.get(COUNT_FILE):
        Path(os.environ[COUNT_FILE]).write_text(f"{count}\n")


@pytest.fixture
def make_bed() -> Iterator[MakeBed]:
    """`make_bed(["alpha", "bravo"], others=[phone()])`: a bed until the test ends."""
    with ExitStack() as stack:
        yield _maker(stack)


@pytest.fixture(scope="module")
def make_module_bed() -> Iterator[MakeBed]:
    """The same until the module ends: for a module's own fixture, where the hosts are only read."""
    with ExitStack() as stack:
        yield _maker(stack)


@pytest.fixture
def measured() -> Measured:
    """`measured("…")`: a line for the end of the run. Times are told there, never asserted."""
    return _measurements.append


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Fails a test after which a thread or a child process is there that was not there before."""
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
    """A background job of a shell, and what nohup starts, ignore signals, and so would all programs that tests start.

    Whoever starts another program hands on what it ignores, not what it handles.
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
    """The hangup that nohup shields the run from."""


def _fail_in_ci() -> None:
    """In CI only who asked for loopback gets it."""
    reason = netns.why_not()
    if reason and os.environ.get("CI") == "true" and os.environ.get(netns.FORCE_LOOPBACK) != "1":
        pytest.fail(f"CI must have network namespaces: {reason}", pytrace=False)


def _children() -> dict[int, str]:
    """Pid and name of our child processes; nothing where there is no /proc."""
    found: dict[int, str] = {}
    own = os.getpid()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, _, rest = stat.read_text().partition(" (")
        except OSError:  # it ended as we looked
            continue
        name, _, fields = rest.rpartition(") ")
        if int(fields.split()[1]) == own:
            found[int(pid)] = name
    return found
