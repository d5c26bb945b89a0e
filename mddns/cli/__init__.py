"""The command line. The module of a command is imported only when that command runs."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import click

from .parts.flags import HELP, VERSION
from .parts.options import COMMON, remember

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

# The commands and their summaries, in the order of the help. A command's module has the command's name.
SECTIONS: Final = {
    "Find": {
        "list": "list all services",
        "find": "print the ip:port of one service",
        "lookup": "list all services that have a name",
        "leader": "print the ip:port of the leader among the services of a name",
        "watch": "show services as they appear, change and disappear",
        "wait": "wait until a service exists, then print its ip:port",
        "query": "send one DNS query to every peer and show each response",
    },
    "Offer": {
        "advertise": "offer services for as long as md runs",
        "run": "run a program and offer it as a service",
        "check": "check a file of services",
    },
    "Operate": {
        "forward": "run a DNS resolver for service names and all others",
        "setup": "configure systemd-resolved, dnsmasq, macOS and others",
        "doctor": "find problems and print the commands that fix them",
        "demo": "run three nodes on this machine, without Tailscale",
        "completion": "print the completion script for a shell",
        "help": "show the help of a command",
    },
}
COMMANDS: Final = {name: told for section in SECTIONS.values() for name, told in section.items()}


class _Group(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS]  # not list(): this package has a module named "list"

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
        # Commands first, and without importing their modules.
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
    """Returns the error text for a command that does not exist."""
    import difflib  # slow to import

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
