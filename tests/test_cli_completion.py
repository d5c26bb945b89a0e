"""What a shell completes: bash for real, the other shells too where they are installed; names come from the network."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from program import Deaf, World

from mddns.cli import COMMANDS
from mddns.cli.options import FORMATS
from mddns.cli.suggest import PATIENCE

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
    traps = (f"- {{name: trap, address: ':{100 + n}', labels: {{x: {quoted(each[2:])}}}}}" for n, each in enumerate(TRAPS))
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
# Readline cuts at COMP_WORDBREAKS, and '=' is one of these.
mapfile -t COMP_WORDS < <(printf '%s' "$COMP_LINE" | sed 's/=/\\n=\\n/g; s/ /\\n/g' | sed '/^$/d')
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
    return done.stdout.split("\n")[:-1]


def shell_quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


# --- bash -------------------------------------------------------------------------------------------------------------


def test_bash_completes_commands(world: World) -> None:
    assert bash(world, "md ") == list(COMMANDS)
    assert bash(world, "md lo") == ["lookup"]


def test_bash_completes_options_and_formats(world: World) -> None:
    assert bash(world, "md list --out") == ["--output"]
    assert bash(world, "md list -o ") == list(FORMATS)
    assert bash(world, "md completion ") == ["bash", "zsh", "fish"]
    assert bash(world, "md help ad") == ["advertise"]


@pytest.mark.parametrize("command", ["find", "lookup", "list"])
def test_bash_completes_names_from_the_network(world: World, command: str) -> None:
    assert bash(world, f"md {command} we") == ["web", "webhook"]
    assert bash(world, f"md {command} grö") == ["größe"]


@pytest.mark.parametrize("command", ["find", "lookup", "list"])
def test_bash_completes_labels_of_the_name_that_is_typed(world: World, command: str) -> None:
    assert bash(world, f"md {command} web env") == ["prod"], "readline puts it behind the last '='"
    assert bash(world, f"md {command} web env=") == ["prod"]
    assert bash(world, f"md {command} webhook env=d") == ["dev"]
