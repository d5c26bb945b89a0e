"""What the documents say is so: their code runs, their commands exist, their tables are the program's own.

Hosts of `console` blocks are real hosts (see `bed`), and what a block shows is compared with what they print.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
import pytest
from bed.host import Host
from bed.hosts import Bed
from conftest import MakeBed
from docblocks import ROOT, Block, anchors, blocks, links, prose, table

import mddns
from mddns.cli import group
from mddns.cli.parts.options import COMMON
from mddns.files.yaml_file import read_config
from mddns.networks import open_network
from mddns.networks.settings import Settings

DOCUMENTS: Final = sorted(path for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")))
TEXTS: Final = {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in DOCUMENTS}
README: Final = TEXTS["README.md"]
FOUND: Final = {name: blocks(text) for name, text in TEXTS.items()}

# What a command line of the documents may begin with, beside ours.
PROGRAMS: Final = frozenset(("curl", "dig", "export", "make", "pipx", "uv"))
OURS: Final = ("md", "mddns")
# The addresses that documents use, and where their examples run instead.
TAILNET, LOOPBACK = "100.64.0.1", "127.0.0.1"


def of(language: str) -> list[Any]:
    """The documents' blocks of one language, for `parametrize`."""
    return [
        pytest.param(block, id=f"{name}:{block.line}")
        for name, found in FOUND.items()
        for block in found
        if block.language == language
    ]


class Step(NamedTuple):
    """A command of a console block: on which host ("" where none is named), and what it prints."""

    host: str
    command: str
    output: list[str]


def steps(block: Block) -> list[Step]:
    """The commands of a console block, each with the lines below it."""
    found: list[Step] = []
    for line in block.text.splitlines():
        prompt = re.fullmatch(r"(\w*)\$ (.+)", line)
        if prompt:
            found.append(Step(prompt[1], prompt[2], []))
        else:
            assert found, f"line {block.line}: output above the first command"
            found[-1].output.append(line)
    return found


def commands() -> Iterator[tuple[str, str]]:
    """Every command line of the documents, with where it stands."""
    for name, found in FOUND.items():
        for block in found:
            where = f"{name}:{block.line}"
            if block.language == "shell":
                yield from ((where, line) for line in block.text.splitlines() if line)
            elif block.language == "console":
                yield from ((where, step.command) for step in steps(block))


# --- commands ---------------------------------------------------------------------------------------------------------


def parsed(words: list[str]) -> click.Context:
    """The context of a command of ours; a click exception where there is no such command, argument or option."""
    context = group.make_context("md", list(words))
    name, command, rest = group.resolve_command(context, [*getattr(context, "_protected_args", ()), *context.args])
    assert command is not None
    return command.make_context(name, rest, parent=context)


@pytest.mark.parametrize(("where", "line"), [pytest.param(*each, id=each[1]) for each in commands()])
def test_a_command_line_of_the_documents_is_one(where: str, line: str) -> None:
    inner = re.findall(r"\$\((.+?)\)", line)
    for text in (line, *inner):
        words = shlex.split(re.sub(r"\$\(.+?\)", "VALUE", text), comments=True)
        if words[0] in OURS:
            parsed(words[1:])
        else:
            assert words[0] in PROGRAMS, f"{where}: what is {words[0]}?"


def test_commands_named_in_the_text_exist() -> None:
    named = {
        match
        for name, text in TEXTS.items()
        for _, line in prose(text)
        for match in re.findall(r"`(?:\.venv/bin/)?md ([a-z]+)", line)
        if name != "CHANGELOG.md"
    }
    known = set(group.list_commands(click.Context(group)))
    assert named <= known
    main = {"advertise", "list", "find", "lookup", "query", "demo"}
    assert main <= known
    assert all(f"md {command}" in README for command in main - {"demo"}), "the README leaves a command out"


def test_make_targets_of_the_documents_exist() -> None:
    targets = set(re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8")))
    asked = {line.split()[1] for _, line in commands() if line.startswith("make ")}
    asked |= {target for text in TEXTS.values() for target in re.findall(r"`make ([a-z-]+)", text)}
    assert {"demo", "test"} <= asked <= targets


def test_the_test_command_stands_where_ci_looks_for_it() -> None:
    assert re.search(r"(?m)^\$ make test$", README)


# --- what is shown is what is printed ---------------------------------------------------------------------------------


@pytest.fixture
def bed(make_bed: MakeBed) -> Bed:
    return make_bed(["alpha", "bravo"])


def test_the_readmes_hosts_print_what_it_shows(bed: Bed) -> None:
    """alpha advertises, bravo finds: word for word where hosts are namespaces, on loopback at other addresses."""
    shown = [step for block in FOUND["README.md"] if block.language == "console" for step in steps(block) if step.host]
    assert {step.host for step in shown} == {"alpha", "bravo"}
    for step in shown:
        check(bed.host(step.host), step, bed)


def check(host: Host, step: Step, bed: Bed) -> None:
    """Runs a step and compares; what advertises goes on in the background."""
    words = shlex.split(step.command.replace(TAILNET, bed.host("alpha").ipv4))
    if "advertise" in words:
        program = host.start(words)
        for line in expected(step, bed):
            program.wait_for(line.strip())
        return
    done = host.run(words)
    assert done.returncode == 0, done.stderr
    got = done.stdout.splitlines()
    if not bed.namespaces:
        got = [" ".join(line.split()) for line in got]
    assert got == expected(step, bed)


def expected(step: Step, bed: Bed) -> list[str]:
    """What a step shows; on loopback with its addresses, in columns of no width."""
    if bed.namespaces:
        return step.output
    return [" ".join(line.replace(TAILNET, bed.host("alpha").ipv4).split()) for line in step.output]


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has, UDP and TCP."""
    with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        tcp.bind((LOOPBACK, 0))
        udp.bind((LOOPBACK, tcp.getsockname()[1]))
        return int(tcp.getsockname()[1])


def comments(block: Block) -> list[str]:
    """What a Python block says that it prints: the comments behind its prints."""
    prints = [line for line in block.text.splitlines() if line.lstrip().startswith("print(")]
    for line in prints:
        assert "  # " in line, f"line {block.line}: what does {line.strip()} print?"
    return [line.split("  # ", 1)[1].replace(TAILNET, LOOPBACK) for line in prints]


@pytest.mark.parametrize("name", [name for name, found in FOUND.items() if any(b.language == "python" for b in found)])
def test_the_python_of_a_document_runs_and_prints_what_it_says(name: str, tmp_path: Path) -> None:
    """All its blocks in order, as one program, on a network that is this machine."""
    python = [block for block in FOUND[name] if block.language == "python"]
    program = tmp_path / "document.py"
    program.write_text("\n".join(block.text for block in python), "utf-8")
    env = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("MDDNS_", "XDG_"))},
        "HOME": str(tmp_path),
        "MDDNS_NETWORK": f"static:{LOOPBACK}",
        "MDDNS_PORT": str(free_port()),
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", program],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [line for block in python for line in comments(block)]


def test_the_demo_ends_and_shows_services() -> None:
    """`md demo`, which `make demo` runs, needs nothing but 127.0.0.1; --once prints and ends."""
    done = subprocess.run(
        [sys.executable, "-m", "mddns", "demo", "--once"], capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 0, done.stderr
    head, *rows = done.stdout.splitlines()
    assert head.split() == ["NAME", "ADDRESS", "LABELS", "HOST"]
    assert len(rows) >= 3
    assert "dig @127.0.0.1" in done.stderr


# --- what files, tables and links say ---------------------------------------------------------------------------------


@pytest.mark.parametrize("block", of("yaml"))
def test_yaml_of_the_documents_is_read(block: Block) -> None:
    assert read_config(block.text, "document")


@pytest.mark.parametrize("block", [*of("json")])
def test_json_of_the_documents_is_json(block: Block) -> None:
    json.loads(block.text)


def test_the_grant_opens_the_port_for_both_protocols() -> None:
    grants = [
        next(json.loads(b.text) for b in FOUND[name] if b.language == "json")
        for name in ("README.md", "docs/security.md")
    ]
    assert grants[0] == grants[1]
    assert grants[0]["grants"][0]["ip"] == ["udp:28004", "tcp:28004"]


@pytest.mark.parametrize("name", TEXTS)
def test_links_lead_somewhere(name: str) -> None:
    for link in links(TEXTS[name]):
        if re.match("[a-z]+:", link.target):
            assert link.target.startswith("https://"), f"{name}:{link.line}: {link.target}"
            continue
        path, _, anchor = link.target.partition("#")
        target = (ROOT / name).parent / path if path else ROOT / name
        assert target.exists(), f"{name}:{link.line}: there is no {link.target}"
        if anchor:
            assert anchor in anchors(target.read_text("utf-8")), f"{name}:{link.line}: no heading #{anchor}"


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_files_named_in_the_text_exist(name: str) -> None:
    spans = [span for _, line in prose(TEXTS[name]) for span in re.findall(r"`([^`]+)`", line)]
    spans += [word for block in FOUND[name] if block.language == "shell" for word in block.text.split()]
    for span in spans:
        for word in span.split():
            if re.fullmatch(r"[\w.-]+(/[\w.-]+)*\.(md|yaml|toml|json|py|zone)", word) and not re.match(
                r"mddns/\w+\.json", word
            ):
                assert (ROOT / word).exists(), f"{name}: there is no {word}"


def test_nobody_is_told_to_install_somebody_elses_package() -> None:
    """`mddns` is another project's distribution; ours is `minidisc-dns`."""
    wrong = re.compile(r"install\s+(?:-\S+\s+)*[\"']?mddns\b")
    suffixes = {".md", ".py", ".toml", ".yaml", ".json", ".zone", ".cfg", ""}
    for directory, names, files in os.walk(ROOT):
        names[:] = [
            n for n in names if not (n.startswith(".") and n != ".ci") and n not in ("__pycache__", "build", "work")
        ]
        for file in files:
            path = Path(directory, file)
            if path.suffix in suffixes and path.stat().st_size < 1 << 20:
                told = wrong.search(path.read_text("utf-8", "replace"))
                assert told is None, f"{path}: {told and told[0]}"


def test_the_readmes_options_and_variables_are_the_programs() -> None:
    """Every common option with its variable, every variable with its option, and the two that are not ours."""
    rows = {row["option"]: row["variable"] for row in table(README, "Networks") if "option" in row}
    rows = rows or {row["option"]: row["variable"] for row in second_table("Networks", "option")}
    ours = {max(option.opts, key=len): re.search(r"\[(MDDNS_\w+)\]", option.help or "") for option in COMMON}
    assert {option: variable for option, variable in rows.items() if option} == {
        option: found[1] for option, found in ours.items() if found
    }
    listed = {row["variable"] for row in second_table("Networks", "option")}
    read = set()
    for path in (ROOT / "mddns").rglob("*.py"):
        read |= set(re.findall(r"\b(?:MDDNS_[A-Z_]+[A-Z]|TS_SOCKET|XDG_[A-Z_]+|NO_COLOR)\b", path.read_text("utf-8")))
    assert listed == read


def second_table(heading: str, column: str) -> list[dict[str, str]]:
    """The table below `heading` that has this column."""
    text = README[README.index(f"## {heading}") :]
    start = text.index(f"| {column} |")
    return table(f"## {heading}\n\n{text[start:]}", heading)


def test_the_readmes_networks_can_be_opened() -> None:
    for row in table(README, "Networks"):
        open_network([row["--network"]])


def test_the_readmes_defaults_are_the_programs() -> None:
    settings = Settings.of(environ={})
    rows = {row["option"]: row["default"] for row in second_table("Networks", "option")}
    assert (rows["--network"], rows["--port"]) == (settings.network_name, str(settings.port))
    assert (f"{rows['--domain']}.", float(rows["--timeout"])) == (str(settings.apex), settings.timeout)


def test_the_exit_codes_are_the_errors_own() -> None:
    told = {int(row["exit code"]) for row in second_table("Networks", "exit code")}
    assert told == {0, 1, *(error.exit_code for error in errors().values())}


def errors() -> dict[str, type[mddns.Error]]:
    """The errors that the package gives out, by name."""
    found = {name: getattr(mddns, name) for name in mddns.__all__}
    return {name: each for name, each in found.items() if isinstance(each, type) and issubclass(each, mddns.Error)}


def test_the_api_document_names_everything_that_is_public() -> None:
    for name in mddns.__all__:
        assert re.search(rf"\b{name}\b", TEXTS["docs/api.md"]), f"docs/api.md does not tell of {name}"
    for name in mddns.Service._fields:
        if name not in ("instance", "meta"):
            assert re.search(rf"\b{name}\b", TEXTS["docs/api.md"]), f"docs/api.md does not tell of {name}"


def test_the_api_document_names_nothing_that_is_not_there() -> None:
    for heading, described in (("Offer", mddns.Registry), ("Find", mddns.Service)):
        for row in table(TEXTS["docs/api.md"], heading):
            named = re.sub(r"\(.*?\)", "", next(iter(row.values())))
            for name in named.split(", "):
                assert hasattr(described, name), f"{described.__name__} has no {name}"


def test_the_api_documents_errors_are_the_codes_own() -> None:
    known = errors()
    rows = {row["error"]: row for row in table(TEXTS["docs/api.md"], "Errors")}
    assert set(rows) == set(known) - {"Error"}
    for name, row in rows.items():
        parent: Any = {**known, "OSError": OSError, "ValueError": ValueError}[row["is also"]]
        assert issubclass(known[name], parent)
        assert known[name].exit_code == int(row["exit code"])


def test_the_version_is_the_same_everywhere() -> None:
    """`md --version`, the installed distribution, and the newest released version of the changelog agree."""
    done = subprocess.run(
        [sys.executable, "-m", "mddns", "--version"], capture_output=True, text=True, check=True, timeout=30
    )
    newest = re.search(r"(?m)^## \[(\d[\w.]*)\]", TEXTS["CHANGELOG.md"])
    assert newest is not None
    assert done.stdout == f"md, version {newest[1]}\n"
    installed = importlib.metadata.version("minidisc-dns")
    assert installed == newest[1], "the virtual environment is older: `make clean`, then `make dev`"
