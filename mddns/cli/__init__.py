"""The command line. A command's file is loaded when it is the one that is run."""

from __future__ import annotations

import difflib
from importlib import import_module
from typing import Final

import click

from .. import __version__
from .options import COMMON, remember

_COMMANDS: Final = {
    "list": "all services",
    "find": "one service's ip:port",
    "lookup": "all services of a name",
    "query": "which peer says what",
    "advertise": "offer services, while it runs",
    "demo": "three nodes on this machine, without Tailscale",
}


class _Group(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command = import_module(f".{cmd_name}", __name__).command
        assert isinstance(command, click.Command)  # noqa: S101 - each of our files has one
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in _COMMANDS and not name.startswith("-"):
            close = difflib.get_close_matches(name, _COMMANDS, 1)
            meant = f" Did you mean '{close[0]}'?" if close else " 'md --help' lists the commands."
            raise click.UsageError(f"There is no command '{name}'.{meant}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # Without loading them all.
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(
    cls=_Group,
    params=list(COMMON),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit code: 0 found or done, 1 nothing found, 2 usage or a bad file, 3 the network could not be asked, "
    "4 incomplete with --strict.",
)
@click.version_option(__version__, prog_name="md")
@click.pass_context
def group(ctx: click.Context, /, **values: object) -> None:
    """Find services on your network by name. No server: every node answers DNS."""
    remember(ctx, values)
