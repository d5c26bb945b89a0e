"""Tests of conftest: tests leave nothing running, missing namespaces are reported, and no test is left out.

Each test runs pytest on its own small file, with our conftest as a plugin.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from places import TESTS

MARKED = """
    import pytest

    @pytest.mark.namespaces
    def test_it(make_bed):
        make_bed(["alpha"]).host("alpha").run(["true"])
"""
PLAIN = """
    def test_it(make_bed):
        make_bed(["alpha"]).host("alpha").run(["true"])

    def test_other():
        pass
"""


def pytest_says(directory: Path, code: str, *options: str, named: bool = True, **env: str) -> str:
    """The output of pytest for a test file with this content, given by name or found by pytest."""
    file = directory / "test_inner.py"
    file.write_text(textwrap.dedent(code))
    kept = {k: v for k, v in os.environ.items() if k not in ("CI", "MDDNS_TEST_LOOPBACK", "MDDNS_NAMESPACE_COUNT_FILE")}
    command = [sys.executable, "-m", "pytest", "-rs", "-p", "conftest", "-p", "no:cacheprovider", "-c", os.devnull]
    return subprocess.run(
        [*command, f"--rootdir={directory}", *options, *([str(file)] if named else [])],
        cwd=directory,
        env={**kept, "PYTHONPATH": str(TESTS), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    ).stdout


@pytest.mark.parametrize(
    ("leak", "named"),
    [
        (
            "import threading; threading.Thread(target=threading.Event().wait, daemon=True, name='stray').start()",
            "stray",
        ),
        ("import subprocess; subprocess.Popen(['timeout', '15', 'cat'], stdin=subprocess.PIPE)", "timeout"),
    ],
)
def test_a_test_that_leaves_something_running_fails(tmp_path: Path, leak: str, named: str) -> None:
    told = pytest_says(tmp_path, f"def test_it():\n    {leak}\n", MDDNS_TEST_LEFT_SECONDS="0.1")
    assert "the test left something running" in told
    assert re.search(rf"(thread|process \d+:) {named}", told)


def test_a_bed_made_by_a_test_is_not_left(tmp_path: Path) -> None:
    assert "2 passed" in pytest_says(tmp_path, PLAIN)


def test_without_namespaces_a_marked_test_is_skipped_and_says_why(tmp_path: Path) -> None:
    told = pytest_says(tmp_path, MARKED, MDDNS_TEST_LOOPBACK="1")
    assert "1 skipped" in told
    assert "needs network namespaces: MDDNS_TEST_LOOPBACK=1" in told


def test_without_namespaces_a_bed_stands_on_loopback(tmp_path: Path) -> None:
    told = pytest_says(tmp_path, PLAIN, MDDNS_TEST_LOOPBACK="1")
    assert "2 passed" in told
    assert "namespaces: 0 tests ran on network namespaces" in told


@pytest.mark.parametrize("code", [MARKED, PLAIN])
def test_in_ci_missing_namespaces_are_a_failure(tmp_path: Path, code: str) -> None:
    # Without a PATH there is no `ip`, as if it were not installed. Other users than root get another reason first.
    told = pytest_says(tmp_path, code, CI="true", PATH="/nonexistent")
    assert re.search("CI must have network namespaces: (ip is missing|network namespaces need root)", told)
    assert " skipped" not in told


def test_in_ci_who_asks_for_loopback_gets_it(tmp_path: Path) -> None:
    assert "2 passed" in pytest_says(tmp_path, PLAIN, CI="true", MDDNS_TEST_LOOPBACK="1")


@pytest.mark.namespaces
def test_the_tests_that_used_a_host_are_counted(tmp_path: Path) -> None:
    count = tmp_path / "count"
    told = pytest_says(tmp_path, PLAIN, MDDNS_NAMESPACE_COUNT_FILE=str(count))
    assert "namespaces: 1 tests ran on network namespaces" in told
    assert count.read_text() == "1\n"


SORTED = """
    import pytest

    @pytest.fixture
    def hosts(make_bed):
        return make_bed(["alpha"])

    def test_plain(): pass
    def test_a_bed(make_bed): pass
    def test_a_bed_of_a_fixture(hosts): pass
    @pytest.mark.quick
    def test_a_bed_and_quick(hosts): pass
    @pytest.mark.namespaces
    def test_namespaces(): pass
    @pytest.mark.alone
    def test_alone(): pass
    @pytest.mark.thorough
    def test_slow(): pass
"""
QUICK = {"plain", "a_bed_and_quick"}
THOROUGH = {"a_bed", "a_bed_of_a_fixture", "namespaces", "alone", "slow"}


@pytest.mark.parametrize(
    ("options", "named", "ran"),
    [
        (["--quick"], False, QUICK),
        (["-m", "thorough"], False, THOROUGH),
        ([], False, QUICK | THOROUGH),
        (["--quick"], True, QUICK | THOROUGH),
        (["--quick", "-k", "bed"], False, {"a_bed", "a_bed_of_a_fixture", "a_bed_and_quick"}),
    ],
    ids=["make test", "make test-thorough", "make test-all", "make test ARGS=FILE", "make test ARGS='-k bed'"],
)
def test_each_test_is_quick_or_thorough_and_what_is_named_is_run(
    tmp_path: Path, options: list[str], named: bool, ran: set[str]
) -> None:
    told = pytest_says(tmp_path, SORTED, "--collect-only", "-q", *options, named=named)
    assert set(re.findall(r"::test_(\w+)$", told, re.MULTILINE)) == ran


def test_a_line_a_file_tells_how_long_it_took(tmp_path: Path) -> None:
    assert re.search(r"(?m)^ +\d+\.\d s     1 test  test_inner\.py$", pytest_says(tmp_path, "def test_it(): pass"))
