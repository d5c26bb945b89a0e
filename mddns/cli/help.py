"""``md help COMMAND``: the same as ``md COMMAND --help``."""

from __future__ import annotations

import click

from . import COMMANDS, group, unknown


def _commands(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    return [name for name in COMMANDS if name.startswith(incomplete)]


@click.command("help")
@click.argument("name", metavar="[COMMAND]", required=False, shell_complete=_commands)
@click.pass_context
def command(ctx: click.Context, name: str | None) -> int:
    """Show the help of a command, or the list of commands.

    \b
    Examples:
      md help
      md help find
    """
    top = ctx.find_root()
    if name is None:
        click.echo(top.get_help())
        return 0
    wanted = group.get_command(top, name)
    if wanted is None:
        raise click.UsageError(unknown(name), ctx)
    with click.Context(wanted, info_name=name, parent=top) as inner:
        click.echo(wanted.get_help(inner))
    return 0
