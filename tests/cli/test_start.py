"""What a command loads: `md find` stands in scripts and prompts, so it starts with what it needs and no more."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from typing import Final

import pytest
from program import MD, World

# Slow to load, or only for those who offer, check files or ask for something else.
LIBRARIES: Final = ("asyncio", "concurrent", "dnslib", "email", "h11", "hashlib", "http", "importlib.metadata")
MORE: Final = ("logging", "multiprocessing", "ssl", "subprocess", "urllib", "yaml")
OURS: Final = ("node", "sync", "config", "zonefile", "records", "responder")
HEAVY: Final = frozenset((*LIBRARIES, *MORE, *(f"mddns.{name}" for name in OURS)))
# Of the standard library, what lesser slips would load.
SLOW: Final = HEAVY | {"argparse", "difflib", "locale", "shutil", "tempfile"}
FORMATS_OWN: Final = frozenset(("mddns.cli.parts.formats", "mddns.cli.parts.table", "mddns.cli.parts.as_file"))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("start")) as world:
        world.start("advertise", "web", ":8080", node="alpha").wait_for("advertised")
        yield world


def loaded(world: World, *args: str) -> set[str]:
    """The modules that a command has loaded at its end."""
    argv = [MD[0], "-X", "importtime", *MD[1:], *args]
    done = subprocess.run(argv, env=world.env(), capture_output=True, text=True, check=True, timeout=20)
    return set(re.findall(r"(?m)^import time:.*\| +(\S+)$", done.stderr))


def among(names: frozenset[str], modules: set[str]) -> set[str]:
    return {each for each in modules if any(each == name or each.startswith(f"{name}.") for name in names)}


@pytest.mark.parametrize("command", ["find", "lookup"])
def test_finding_loads_nothing_heavy(world: World, command: str) -> None:
    # Not -o: click tries short options as long ones first, and thinks about what else might have been meant.
    modules = loaded(world, command, "web", "--output", "name")
    assert {"click", "mddns.resolver"} <= modules
    assert among(SLOW, modules) == set()
    assert not modules & FORMATS_OWN


@pytest.mark.parametrize("output", ["table", "wide", "json", "jsonl", "yaml", "zone"])
def test_no_format_needs_a_heavy_module(world: World, output: str) -> None:
    modules = loaded(world, "lookup", "web", "-o", output)
    assert among(HEAVY, modules) == set()
    assert ("mddns.cli.parts.as_file" in modules) == (output in ("yaml", "zone"))


def test_at_its_end_it_looks_for_no_garbage() -> None:
    code = (
        "import atexit, gc, sys; atexit.register(lambda: print(gc.get_freeze_count() > 1000)); "
        "from mddns.__main__ import main; sys.argv = ['md', '--version']; main()"
    )
    done = subprocess.run([MD[0], "-c", code], capture_output=True, text=True, check=True, timeout=20)
    assert done.stdout.splitlines()[-1] == "True"


@pytest.mark.parametrize("args", [["--help"], ["--version"], ["help", "find"]], ids=" ".join)
def test_help_loads_no_command_but_the_one_asked_about(world: World, args: list[str]) -> None:
    modules = loaded(world, *args)
    assert among(HEAVY, modules) == set()
    commands = {"list", "lookup", "query", "advertise", "run", "check", "demo", "completion"}
    assert not {f"mddns.cli.{name}" for name in commands} & modules
