"""Services on stdout, in the format asked for."""

from __future__ import annotations

import time
from collections.abc import Sequence

import click

from ...base.model import Service
from .options import Options


def print_services(services: Sequence[Service], options: Options, unasked: str = "table") -> None:
    """Services in the format asked for, `unasked` where none was."""
    output = options.choose(unasked=unasked)
    if output == "name":  # what scripts wait for, so nothing is loaded for it
        text = "\n".join(service.endpoint for service in services)
    else:
        from .formats import in_format

        text = "\n".join(in_format(output, services, options.settings.apex, time.time()))
    if text:
        click.echo(text)
