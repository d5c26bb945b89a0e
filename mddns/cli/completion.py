"""``md completion``: scripts for shells to complete commands, options and the names of services."""

from __future__ import annotations

from typing import Final

import click

from . import group
from .parts.suggest import VARIABLE

# Replacements in click's scripts, so that they complete both names of the program.
_BOTH: Final = {
    "bash": (("-F _md_completion md\n", "-F _md_completion md mddns\n"),),
    "zsh": (("#compdef md\n", "#compdef md mddns\n"), ("_md_completion md\n", "_md_completion md mddns\n")),
    "fish": (("--command md ", "--command md --command mddns "),),
}


@click.command("completion")
@click.argument("shell", type=click.Choice(list(_BOTH)), metavar="bash|zsh|fish")
def command(shell: str) -> int:
    """Print the script with which a shell completes commands, options and the names of services.

    \b
    Examples:
      eval "$(md completion bash)"     # in ~/.bashrc; zsh: after compinit in ~/.zshrc
      md completion fish > ~/.config/fish/completions/md.fish
    """
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    if made is None:
        raise click.UsageError(f"the installed version of click has no completion for {shell}")
    # Not source(): that starts a shell to check its version.
    template = made(group, {}, "md", VARIABLE)
    script = template.source_template % template.source_vars()
    for one, both in _BOTH[shell]:
        script = script.replace(one, both)
    click.echo(script, nl=False)
    return 0
