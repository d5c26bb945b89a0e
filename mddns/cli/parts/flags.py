"""The options ``--version`` and ``--help``. click's own would load translations at every start of md."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import click

from ... import __version__


def _version(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        click.echo(f"md, version {__version__}")
        ctx.exit()


def _help(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        click.echo(ctx.get_help())
        ctx.exit()


def _flag(*names: str, callback: Callable[[click.Context, click.Parameter, bool], None], told: str) -> click.Option:
    return click.Option(names, is_flag=True, expose_value=False, is_eager=True, callback=callback, help=told)


VERSION: Final = _flag("--version", callback=_version, told="Show the version and exit.")
HELP: Final = _flag("-h", "--help", callback=_help, told="Show this message and exit.")
