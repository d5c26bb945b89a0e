"""Beds for tests, the `namespaces` marker, and the proof that a test leaves nothing running.

On a machine without network namespaces a bed stands on loopback and tests marked `namespaces` are skipped; in
CI (CI=true) that would hide most of what the tests show, so there both fail. How many tests truly ran on
namespaces is printed at the end, and written to the file that MDDNS_NAMESPACE_COUNT_FILE names.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest
from bed import netns
from bed.alone import turn
from bed.hosts import Bed
from bed.process import wait_until
from bed.tailnet import Node

COUNT_FILE = "MDDNS_NAMESPACE_COUNT_FILE"
LEFT_SECONDS = "MDDNS_TEST_LEFT_SECONDS"
"""How long threads and processes of a test have for ending; mostly they need no time at all."""

_ran_on_namespaces: set[str] = set()


Measured = Callable[[str], None]
_measurements: list[str] = []


class MakeBed(Protocol):
    """The type of `make_bed` and `make_module_bed`: makes a bed that exists until the test or module ends."""

    def __call__(self, hosts: Iterable[str | Node], others: Iterable[Node] = ()) -> Bed: ...


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """`-n auto`: side by side where each worker can have a network to itself, since tests share ports of loopback."""
    return 0 if netns.why_not() else max(2, os.cpu_count() or 1)


def pytest_configure(config: pytest.Config) -> None:
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
    """Collects from a worker that ended what is printed at the end of the run."""
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
    """The same until the module ends: for a fixture of the module, if no test changes the hosts."""
    with ExitStack() as stack:
        yield _maker(stack)


@pytest.fixture
def measured() -> Measured:
    """`measured("…")` prints a line at the end of the run. Times are printed there, never asserted."""
    return _measurements.append


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Fails a test that leaves a thread or a child process running that did not run before it."""
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


def _fail_in_ci() -> None:
    """Fails in CI, unless the test asked for loopback."""
    reason = netns.why_not()
    if reason and os.environ.get("CI") == "true" and os.environ.get(netns.FORCE_LOOPBACK) != "1":
        pytest.fail(f"CI must have network namespaces: {reason}", pytrace=False)


def _children() -> dict[int, str]:
    """Pid and name of each child process; empty without /proc."""
    found: dict[int, str] = {}
    own = os.getpid()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, _, rest = stat.read_text().partition(" (")
        except OSError:  # it ended in the meantime
            continue
        name, _, fields = rest.rpartition(") ")
        if int(fields.split()[1]) == own:
            found[int(pid)] = name
    return found
