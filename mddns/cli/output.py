"""What commands print: services on stdout, talk on stderr. Whatever came from the network is escaped."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import click

from ..model import Service


def clean(text: str) -> str:
    """`text` with everything that could steer a terminal escaped: control and format characters, stray octets."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # an octet that was no UTF-8
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def talk(text: str) -> None:
    """A line for people, on stderr."""
    click.echo(f"md: {clean(text)}", err=True)


def print_services(services: Iterable[Service], output: str) -> None:
    """Services in the format asked for."""
    services = list(services)
    if output == "json":
        click.echo(json.dumps([service.to_json() for service in services], indent=2))
    elif output == "name":
        for service in services:
            click.echo(service.endpoint)
    elif services:
        rows = [
            (
                service.name,
                service.endpoint if service.protocol == "tcp" else f"{service.endpoint}/{service.protocol}",
                " ".join(f"{key}={value}" for key, value in service.labels.items()),
                service.host or "-",
            )
            for service in services
        ]
        print_table(("NAME", "ADDRESS", "LABELS", "HOST"), rows)


def print_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns as wide as what stands in them."""
    lines = [list(head), *([clean(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for line in lines:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
