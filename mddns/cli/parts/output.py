"""Prints services on stdout, in the chosen format."""

from __future__ import annotations

import time
from collections.abc import Sequence

import click

from ...base.model import Service
from .options import Options


def print_services(services: Sequence[Service], options: Options, unasked: str = "table") -> None:
    """Prints services in the chosen format; `unasked` is the default."""
    output = options.choose(unasked=unasked)
    if output == "name":  # scripts wait for this one, so it needs no import
        text = "\n".join(service.endpoint for service in services)
    else:
        from .formats import in_format

        text = "\n".join(in_format(output, services, options.settings.apex, time.time()))
    if text:
        click.echo(text)
