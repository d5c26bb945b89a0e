"""The layout: each package has a docstring, each module has its tests, and other libraries are used only where allowed.

`lint-imports` checks which package may import which; its contracts are in pyproject.toml.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from places import ROOT, TESTS

PACKAGE = ROOT / "mddns"
FILES = sorted(PACKAGE.rglob("*.py"))
PACKAGES = [path.parent for path in FILES if path.name == "__init__.py"]
MODULES = [str(path.relative_to(PACKAGE).with_suffix("")) for path in FILES if path.name != "__init__.py"]
LIBRARIES = {"click", "dnslib", "h11", "yaml"}

# Modules without a tests/<package>/test_<module>.py, and the file that tests them instead.
TESTED_ELSEWHERE = {
    "__main__": "cli/test_table",
    "aio_watch": "watching/test_watcher",
    "default": "test_resolver",
    "sync_watch": "watching/test_watcher",
    "base/errors": "docs/test_docs",
    "base/inet": "base/test_model",
    "dns/presentation": "hosts/test_md",
    "directory/source": "directory/test_directory",
    "host/http_routes": "http/test_dispatch",
    "host/port_check": "hosts/test_race",
    "host/role": "hosts/test_tenants",
    "host/tenant": "hosts/test_tenants",
    "lookup/asked_peer": "lookup/test_fanout",
    "lookup/asyncio_sockets": "lookup/test_sockets",
    "lookup/datagrams": "lookup/test_fanout",
    "lookup/patience": "lookup/test_fanout",
    "networks/own_machine": "networks/test_static",
    "responder/compose": "responder/test_responder",
    "responder/reaction": "server/test_listeners",
    "responder/truncation": "responder/test_responder",
    "responder/variant": "responder/test_responder",
    "forward/server_selection": "forward/test_upstream_query",
    "forward/upstream_sockets": "forward/test_relay",
    "server/acceptor": "hosts/test_port",
    "server/binding": "server/test_listeners",
    "system/connection_limits": "server/test_listeners",
    "server/dns_connection": "server/test_listeners",
    "setup/recipe": "setup/test_recipes",
    "system/after_fork": "test_embedding",
    "system/loop_thread": "test_sync",
    "system/user_file": "files/test_peers_file",
    "watching/holder_mirror": "watching/test_mirrors_by_apex",
    "watching/host_state": "watching/test_own_holder",
    "watching/hosts": "watching/test_watcher",
    "watching/polling": "watching/test_watcher",
    "watching/session_schedule": "watching/test_watcher",
    "watching/soa_probe": "watching/test_watcher",
    "watching/view": "watching/test_watcher",
}


def imported(path: Path) -> Iterator[str]:
    """Returns the top-level names of all imports of a file from outside mddns."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield (node.module or "").partition(".")[0]


def own_tests(module: str) -> str:
    """Returns the test file of a module, such as ``zone/test_journal`` for ``zone/journal``."""
    *folder, name = module.split("/")
    return "/".join((*folder, f"test_{name}"))


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_package_says_what_it_is_for(package: Path) -> None:
    assert ast.get_docstring(ast.parse((package / "__init__.py").read_text("utf-8")))


def test_no_other_library_is_used() -> None:
    assert {name for path in FILES for name in imported(path)} <= {*sys.stdlib_module_names, *LIBRARIES}


def test_each_library_that_is_used_is_a_dependency() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        wanted = tomllib.load(file)["project"]["dependencies"]
    assert {each.partition(">")[0] for each in wanted} == {"click", "dnslib", "h11", "pyyaml"}


def test_the_guard_of_this_file_sees_imports_within_functions(tmp_path: Path) -> None:
    """A checker that finds no imports at all would accept every file."""
    (tmp_path / "zone.py").write_text("import time\ndef f():\n    from os.path import join\n    from .x import y\n")
    assert set(imported(tmp_path / "zone.py")) == {"time", "os"}


@pytest.mark.parametrize("module", [each for each in MODULES if not each.startswith(("cli/", "setup/"))])
def test_a_module_has_a_test_file_of_its_name(module: str) -> None:
    """The tests of commands and recipes are named by what they do: tests/cli/, tests/setup/."""
    assert (TESTS / f"{TESTED_ELSEWHERE.get(module, own_tests(module))}.py").exists()


def test_what_is_tested_elsewhere_has_no_test_file_of_its_name() -> None:
    assert set(MODULES) >= TESTED_ELSEWHERE.keys()
    assert not [module for module in TESTED_ELSEWHERE if (TESTS / f"{own_tests(module)}.py").exists()]
