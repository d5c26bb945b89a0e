"""The command line. A command's file is loaded when it is the one that is run."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import click

from .parts.flags import HELP, VERSION
from .parts.options import COMMON, remember

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

# As help shows them; a command's file is called as it is.
SECTIONS: Final = {
    "Find": {
        "list": "all services",
        "find": "one service's ip:port",
        "lookup": "all services of a name",
        "leader": "who leads",
        "watch": "what comes, changes and goes",
        "wait": "until there is one",
        "query": "which peer says what",
    },
    "Offer": {
        "advertise": "offer services, while it runs",
        "run": "offer one while a program runs",
        "check": "is this file right?",
    },
    "Operate": {
        "forward": "the resolver of this machine: our names, and all others",
        "setup": "have resolved, dnsmasq, unbound, macOS and others find our names",
        "doctor": "what is wrong, and what mends it",
        "demo": "three nodes on this machine, without Tailscale",
        "completion": "what makes a shell complete commands and names",
        "help": "what a command does",
    },
}
COMMANDS: Final = {name: told for section in SECTIONS.values() for name, told in section.items()}


class _Group(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS]  # this package has a module of the name "list"

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = import_module(f".{cmd_name}", __name__).command
        assert isinstance(command, click.Command)  # noqa: S101 - each of our files has one
        command.get_help_option = self.get_help_option  # type: ignore[method-assign]
        return command

    def get_help_option(self, ctx: click.Context) -> click.Option:
        return HELP

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            raise click.UsageError(unknown(name), ctx)
        return super().resolve_command(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # Commands first, and without loading them all.
        for section, commands in SECTIONS.items():
            with formatter.section(section):
                formatter.write_dl(list(commands.items()))
        click.Command.format_options(self, ctx, formatter)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from .parts.topics import ENVIRONMENT, EXIT_CODES

        for heading, topic in (("Environment", ENVIRONMENT), ("Exit code", EXIT_CODES)):
            with formatter.section(heading):
                formatter.write_dl(list(topic.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[Any]]:
        from click.shell_completion import CompletionItem

        found = [CompletionItem(name, help=told) for name, told in COMMANDS.items() if name.startswith(incomplete)]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]


def unknown(name: str) -> str:
    """What to say of a command that there is not."""
    import difflib  # slow to load

    close = difflib.get_close_matches(name, COMMANDS, 1)
    meant = f"Did you mean '{close[0]}'?" if close else "'md --help' lists the commands."
    return f"There is no command '{name}'. {meant}"


@click.group(
    cls=_Group,
    params=[*COMMON, VERSION],
    context_settings={"help_option_names": ["--help", "-h"], "max_content_width": 100},
)
@click.pass_context
def group(ctx: click.Context, /, **values: object) -> None:
    """Find services on your network by name. No server: every node answers DNS."""
    remember(ctx, values)
