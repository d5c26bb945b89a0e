"""What a shell completes: bash for real, the other shells too where they are installed; names come from the network."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from program import Deaf, World

from mddns.cli import COMMANDS
from mddns.cli.parts.options import FORMATS
from mddns.cli.parts.suggest import PATIENCE

# What somebody may call a label to have it run by whoever presses Tab, then Enter.
TRAPS: Final = ["x=$(reboot)", "x=a;reboot", "x=`reboot`", "x=a b", "x=*", "x=~", "x=\x1b[2J", "x=a\nb", "x='"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Three services; one of them has labels that no shell should see. `md` is in PATH."""
    directory = tmp_path_factory.mktemp("completion")
    program = directory / "bin" / "md"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mddns "$@"\n')
    program.chmod(0o755)
    (program.parent / "mddns").symlink_to(program)
    services = (
        '- {name: web, address: ":1", labels: {env: prod, url: "http://a/b"}}',
        '- {name: webhook, address: ":2", labels: {env: dev}}',
        '- {name: "$(reboot)", address: ":3"}',
        '- {name: größe, address: ":4"}',
    )
    traps = (
        f"- {{name: trap, address: ':{100 + n}', labels: {{x: {quoted(each[2:])}}}}}" for n, each in enumerate(TRAPS)
    )
    (directory / "services.yaml").write_text("services:\n" + "\n".join((*services, *traps)), "utf-8")
    with World(directory) as world:
        world.start("advertise", "services.yaml", node="alpha").wait_for("advertised")
        yield world


def quoted(text: str) -> str:
    """A text in YAML's double quotes."""
    return '"' + "".join(f"\\x{ord(char):02x}" for char in text) + '"'


def path(world: World) -> dict[str, str]:
    return {"PATH": f"{world.directory / 'bin'}:{os.environ['PATH']}"}


def bash(world: World, typed: str, **env: str) -> list[str]:
    """What bash offers behind `typed`, as its readline would have it: words cut where it cuts them."""
    script = f"""
eval "$(md completion bash)"
COMP_LINE={shell_quoted(typed)}; COMP_POINT=${{#COMP_LINE}}
# Readline cuts at COMP_WORDBREAKS, of which '=' and ':' stand in our words.
mapfile -t COMP_WORDS < <(printf '%s' "$COMP_LINE" | sed 's/[=:]/\\n&\\n/g; s/ /\\n/g' | sed '/^$/d')
[[ $COMP_LINE == *[\\ ] ]] && COMP_WORDS+=("")
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
compopt() {{ :; }}
_md_completion md
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        env=world.env(None, {**path(world), **env}),
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        cwd=world.directory,
    )
    assert done.stderr == ""
    return done.stdout.split()


def shell_quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


# --- bash -------------------------------------------------------------------------------------------------------------


def test_bash_completes_commands(world: World) -> None:
    assert bash(world, "md ") == list(COMMANDS)
    assert bash(world, "md lo") == ["lookup"]


def test_bash_completes_options_and_formats(world: World) -> None:
    assert bash(world, "md list --out") == ["--output"]
    assert bash(world, "md list -o ") == list(FORMATS)
    assert bash(world, "md watch -o ") == ["table", "wide", "jsonl"]
    assert bash(world, "md completion ") == ["bash", "zsh", "fish"]
    assert bash(world, "md help ad") == ["advertise"]


@pytest.mark.parametrize("command", ["find", "lookup", "list"])
def test_bash_completes_names_from_the_network(world: World, command: str) -> None:
    assert bash(world, f"md {command} we") == ["web", "webhook"]
    assert bash(world, f"md {command} grö") == ["größe"]


@pytest.mark.parametrize("command", ["find", "lookup", "list"])
def test_bash_completes_labels_of_the_name_that_is_typed(world: World, command: str) -> None:
    assert bash(world, f"md {command} web en") == ["env=prod"]
    assert bash(world, f"md {command} webhook env=d") == ["dev"], "readline puts it behind the last '='"
    assert bash(world, f"md {command} webhook env=") == ["dev"]
    assert bash(world, f"md {command} web env=prod u") == ["url=http://a/b"]


@pytest.mark.parametrize(
    ("typed", "offered"), [("check a b", "file,b"), ("advertise b", "file,b"), ("advertise a b", "")]
)
def test_files_are_completed_where_a_command_takes_them(world: World, typed: str, offered: str) -> None:
    env = {"_MD_COMPLETE": "bash_complete", "COMP_WORDS": f"md {typed}", "COMP_CWORD": str(len(typed.split()))}
    done = subprocess.run(
        ["md"], env=world.env(None, {**path(world), **env}), capture_output=True, text=True, timeout=20, check=False
    )
    assert done.stdout.strip() == offered


def test_bash_asks_the_network_that_is_typed(world: World) -> None:
    env = {"MDDNS_NETWORK": "static:127.0.0.1:1"}
    assert bash(world, "md find we", **env) == []
    assert bash(world, f"md find --network {world.spec()} we", **env) == ["web", "webhook"]
    assert bash(world, f"md --network {world.spec()} find we", **env) == ["web", "webhook"]


def test_bash_knows_the_other_name_of_the_program(world: World) -> None:
    script = 'eval "$(mddns completion bash)"; complete -p md mddns'
    done = subprocess.run(
        ["bash", "--norc", "-c", script], env=world.env(None, path(world)), capture_output=True, text=True, check=True
    )
    assert done.stdout.split("\n")[:2] == [f"complete -o nosort -F _md_completion {name}" for name in ("md", "mddns")]


def test_what_a_shell_would_run_is_never_offered(world: World) -> None:
    assert bash(world, "md find ") == ["größe", "trap", "web", "webhook"]
    assert bash(world, "md find trap x") == []


# --- nothing goes wrong -----------------------------------------------------------------------------------------------


def complete(world: World, words: str, cword: int, env: dict[str, str | None]) -> subprocess.CompletedProcess[str]:
    """Asks as click's script for bash does."""
    asked = {"_MD_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(cword)}
    return world.md(env={**asked, **env})


@pytest.mark.parametrize(
    "env",
    [
        {"MDDNS_NETWORK": None},
        {"MDDNS_NETWORK": "nonsense"},
        {"MDDNS_PORT": "x"},
        {"MDDNS_OUTPUT": "x"},
        {"COMP_WORDS": None},
        {"COMP_CWORD": "x"},
        {"_MD_COMPLETE": "nonsense"},
        {"_MD_COMPLETE": "nosuchshell_complete"},
    ],
    ids=str,
)
def test_whatever_is_wrong_nothing_is_said(world: World, env: dict[str, str | None]) -> None:
    done = complete(world, "md\nfind\nwe", 2, env)
    assert (done.stdout.strip(), done.stderr) == ("", "")


def test_a_silent_network_costs_no_more_than_the_patience(world: World) -> None:
    with Deaf() as deaf:
        begun = time.monotonic()
        quick = complete(world, "md\nfi", 1, {})
        without = time.monotonic() - begun
        done = complete(world, "md\nfind\nwe", 2, {"MDDNS_NETWORK": deaf.network})
        taken = time.monotonic() - begun - without
    assert quick.stdout == "plain,find\n"
    assert (done.stdout.strip(), done.stderr) == ("", "")
    assert taken < without + PATIENCE + 2


def test_a_daemon_that_hangs_costs_no_more_than_the_patience(world: World, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as daemon:
        daemon.bind(str(tmp_path / "tailscaled.sock"))
        daemon.listen()
        env = {"MDDNS_NETWORK": None, "TS_SOCKET": str(tmp_path / "tailscaled.sock")}
        begun = time.monotonic()
        done = complete(world, "md\nfind\nwe", 2, env)
        assert time.monotonic() - begun < 1.9, "by itself it would wait for 2 s"
    assert (done.stdout.strip(), done.stderr) == ("", "")


# --- the other shells -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_is_for_both_names_and_calls_back(world: World, shell: str) -> None:
    script = world.md("completion", shell).stdout
    assert f"_MD_COMPLETE={shell}_complete" in script
    assert re.search(r"(?m)^#compdef md mddns$|-F _md_completion md mddns$|--command md --command mddns ", script)


SHELLS: Final = {
    "bash": """
eval "$(md completion bash)"
compopt() { :; }
COMP_WORDS=(md find we) COMP_CWORD=2; _md_completion md; printf '%s\\n' "${COMPREPLY[@]}"
COMP_WORDS=(md lo) COMP_CWORD=1; COMPREPLY=(); _md_completion md; printf '%s\\n' "${COMPREPLY[@]}"
""",
    # Zsh completes on a terminal alone: its function runs here, and what it would call prints.
    "zsh": """
compdef() { }
eval "$(md completion zsh)"
compadd() { print -rl -- "${completions[@]}" }
_describe() { print -rl -- "${completions_with_descriptions[@]%%:*}" }
words=(md find we) CURRENT=3 _md_completion
words=(md lo) CURRENT=2 _md_completion
""",
    "fish": """
md completion fish | source
complete -C 'md find we' | string replace -r '\\t.*' ''
complete -C 'mddns lo' | string replace -r '\\t.*' ''
""",
}
INSTALLED: Final = [shell for shell in SHELLS if shutil.which(shell)]


@pytest.mark.parametrize("shell", INSTALLED)
def test_a_shell_takes_its_script(world: World, shell: str) -> None:
    script = world.directory / f"completion.{shell}"
    script.write_text(world.md("completion", shell).stdout)
    done = subprocess.run([shell, "-n", str(script)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("shell", INSTALLED)
def test_a_shell_completes_names_and_commands(world: World, shell: str) -> None:
    plain = {"bash": "--norc", "zsh": "-f", "fish": "--no-config"}[shell]
    done = subprocess.run(
        [shell, plain, "-c", SHELLS[shell]],
        env=world.env(None, path(world)),
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.stderr == ""
    assert done.stdout.split() == ["web", "webhook", "lookup"]


def test_bash_is_among_the_shells_that_are_tried() -> None:
    assert "bash" in INSTALLED
