"""What `md` tells about itself: help in groups, examples that are right, variables, a man page that is up to date."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import click
import pytest
from docblocks import ROOT
from program import MD

import mddns
from mddns.base.errors import Error
from mddns.cli import COMMANDS, SECTIONS, group, unknown
from mddns.cli.manpage import page
from mddns.cli.parts.options import COMMON, FORMATS
from mddns.cli.parts.topics import ENVIRONMENT, EXIT_CODES, FORMAT_WORDS

TOP: Final = click.Context(group, info_name="md")
HELP: Final = TOP.get_help()
# Where an example of ours pipes into, or takes words from, another program.
OTHERS: Final = frozenset(("curl", "eval"))


def command(name: str) -> click.Command:
    found = group.get_command(TOP, name)
    assert found is not None
    return found


def help_of(name: str) -> str:
    with click.Context(command(name), info_name=name, parent=TOP) as context:
        return context.get_help()


def examples(name: str) -> list[str]:
    _, _, below = (command(name).help or "").partition("Examples:")
    return [line.strip() for line in below.splitlines() if line.strip()]


def md(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*MD, *args], capture_output=True, text=True, check=False, timeout=20)


# --- help -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("section", SECTIONS)
def test_help_has_the_commands_in_groups(section: str) -> None:
    below = HELP.partition(f"\n{section}:\n")[2].partition("\n\n")[0]
    assert [line.split()[0] for line in below.splitlines()] == list(SECTIONS[section])


def test_every_command_stands_in_one_group() -> None:
    listed = [name for names in SECTIONS.values() for name in names]
    files = {
        path.stem
        for path in (ROOT / "mddns/cli").glob("*.py")
        if re.search(r"(?m)^@click\.command\(", path.read_text("utf-8"))
    }
    assert sorted(listed) == sorted(files) == sorted(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_says_what_it_does_and_has_two_examples_of_itself(name: str) -> None:
    about = (command(name).help or "").partition("\n")[0]
    assert re.fullmatch(r"[A-Z].+[.?]", about), about
    assert len(examples(name)) == 2
    assert all(f"md {name}" in line for line in examples(name))


@pytest.mark.parametrize("line", [line for name in COMMANDS for line in examples(name)])
def test_an_example_is_a_command_line_that_md_takes(line: str) -> None:
    inner = re.findall(r"\$\((.+?)\)", line)
    for text in inner or [line]:
        words = shlex.split(text, comments=True)
        words = words[: words.index(">")] if ">" in words else words
        assert words[0] == "md"
        context = group.make_context("md", words[1:])
        name, found, rest = group.resolve_command(context, [*getattr(context, "_protected_args", ()), *context.args])
        assert found is not None
        found.make_context(name, rest, parent=context)
    if inner:
        assert shlex.split(line)[0] in OTHERS


@pytest.mark.parametrize("name", [each for each in COMMANDS if each not in ("help", "completion")])
def test_a_command_has_the_common_options_in_its_help(name: str) -> None:
    shown = help_of(name)
    assert all(option.opts[-1] in shown for option in COMMON)


@pytest.mark.parametrize(
    "line",
    ["watch", "query web", "doctor", "setup dnsmasq", "run x :80 -o zone -- true"],
    ids=lambda line: line.split()[0],
)
def test_help_tells_the_formats_that_the_command_takes(line: str) -> None:
    name, *more = line.split()
    done = md(name, *(more if "-o" in more else (*more, "-o", "zone")))
    (taken,) = re.findall(r"this command supports only (.*)\n", done.stderr)
    (output,) = (option for option in command(name).params if option.name == "output")
    told = re.findall(r"\w+", str(getattr(output, "help", "")).partition(":")[2].partition("[")[0])
    assert [word for word in told if word in FORMATS] == taken.split(", ")


def test_every_variable_that_is_read_is_told() -> None:
    read = set()
    for path in (ROOT / "mddns").rglob("*.py"):
        read |= set(re.findall(r"environ(?:\.get\(|\[)\s*\"([A-Z_]+)\"", path.read_text("utf-8")))
        read |= set(re.findall(r"own_file\(\"([A-Z_]+)\"", path.read_text("utf-8")))
        read |= set(re.findall(r"\"(MDDNS_[A-Z_]+)\"", path.read_text("utf-8")))
    # COLUMNS and TERM are the terminal's own; _MD_COMPLETE, NOTIFY_SOCKET, STATE_DIRECTORY are between others and us.
    told = set(re.findall(r"\b[A-Z][A-Z_]+[A-Z]\b", HELP))
    assert (
        {"MDDNS_NETWORK", "TS_SOCKET", "XDG_CACHE_HOME", "NO_COLOR"}
        <= read - {"COLUMNS", "TERM", "NOTIFY_SOCKET", "STATE_DIRECTORY"}
        <= told
    )


def test_every_exit_code_of_an_error_is_told() -> None:
    def below(kind: type[Error]) -> set[int]:
        return {kind.exit_code}.union(*(below(each) for each in kind.__subclasses__()))

    assert {0, 1, *below(Error)} <= {int(code) for words in EXIT_CODES for code in words.split(", ")}


def test_help_without_a_command_is_the_same_as_the_option() -> None:
    assert md("help").stdout == md("--help").stdout == md("-h").stdout


@pytest.mark.parametrize("name", ["list", "help"])
def test_help_of_a_command_is_the_same_as_its_option(name: str) -> None:
    assert md("help", name).stdout == md(name, "--help").stdout


def test_no_command_shows_help_and_is_wrong_usage() -> None:
    done = md()
    assert (done.returncode, done.stdout) == (2, "")
    assert "Find:" in done.stderr


def test_version_is_the_packages_own() -> None:
    assert md("--version").stdout == f"md, version {mddns.__version__}\n"


# --- mistakes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "meant"), [("lits", "list"), ("look", "lookup"), ("advertize", "advertise"), ("compltion", "completion")]
)
def test_a_command_that_is_nearly_right_is_asked_about(typed: str, meant: str) -> None:
    assert unknown(typed) == f"There is no command '{typed}'. Did you mean '{meant}'?"


def test_a_command_that_is_like_none_is_sent_to_help() -> None:
    assert unknown("xyzzy") == "There is no command 'xyzzy'. 'md --help' lists the commands."


@pytest.mark.parametrize("args", [["lits"], ["help", "lits"]], ids=" ".join)
def test_the_program_asks_so(args: list[str]) -> None:
    done = md(*args)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Did you mean 'list'?" in done.stderr


def test_an_option_that_is_nearly_right_is_asked_about() -> None:
    done = md("list", "--stirct")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--strict" in done.stderr


# --- the man page -----------------------------------------------------------------------------------------------------


def test_the_man_page_is_up_to_date() -> None:
    kept = (ROOT / "docs/md.1").read_text("utf-8")
    assert kept == page(), "write it anew: python -m mddns.cli.manpage > docs/md.1"


def test_the_module_prints_the_man_page() -> None:
    done = subprocess.run([sys.executable, "-m", "mddns.cli.manpage"], capture_output=True, text=True, check=True)
    assert done.stdout == page()


@pytest.fixture(scope="module")
def manual() -> str:
    """The words of the page on one line: without macros, escapes undone."""
    text = re.sub(r"(?m)^\.\S+ ?|\\f[BR]|\\&", "", page())
    for escape, char in (("\\-", "-"), ("\\(aq", "'"), ("\\(dq", '"'), ("\\(ha", "^"), ("\\(ti", "~"), ("\\e", "\\")):
        text = text.replace(escape, char)
    return " ".join(text.split())


def test_groff_has_no_complaint_and_shows_the_same_words(manual: str) -> None:
    """Where there is groff."""
    if groff := shutil.which("groff"):
        argv = [groff, "-man", "-Tascii", "-P-cbou", "-ww", "-rHY=0", "-rLL=10000n", "-"]
        done = subprocess.run(argv, input=page(), capture_output=True, text=True, check=True)
        assert done.stderr == ""
        shown = " ".join(done.stdout.split())
        assert all(word in shown for word in manual.split() if word.isalnum())
        assert 'curl "http://$(md find web)/"' in shown


def test_the_man_page_has_every_command_option_format_variable_and_code(manual: str) -> None:
    for name in COMMANDS:
        assert f"md {name}" in manual
        assert all(" ".join(line.split()) in manual for line in examples(name))
    for option in COMMON:
        assert option.opts[-1] in manual
        assert option.variable is None or option.variable in manual
    for words in (ENVIRONMENT, EXIT_CODES, FORMAT_WORDS):
        for told in words.values():
            assert " ".join(told.replace("…", "...").split()) in manual


def test_every_format_is_described() -> None:
    assert list(FORMAT_WORDS) == list(FORMATS)


def test_what_roff_would_read_as_a_request_is_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EXIT_CODES, "9", ".so /etc/passwd\\fB")
    assert "\n\\&.so /etc/passwd\\efB\n" in page()


def test_a_wheel_has_the_man_page_where_man_looks(tmp_path: Path) -> None:
    """By what pyproject.toml says; built, too, where the builder is installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    shared = project["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]
    assert shared == {"docs/md.1": "share/man/man1/md.1"}
    if find_spec("hatchling"):
        script = "import sys; from hatchling.build import build_wheel; build_wheel(sys.argv[1])"
        argv = [sys.executable, "-c", script, str(tmp_path)]
        done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        (wheel,) = tmp_path.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            assert any(name.endswith(".data/data/share/man/man1/md.1") for name in archive.namelist())
