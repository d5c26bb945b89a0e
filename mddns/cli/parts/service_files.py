"""Reads files of services, YAML or zone files."""

from __future__ import annotations

import os
import re
import stat
import sys
from pathlib import Path
from typing import Final, NamedTuple

import click
from click.shell_completion import CompletionItem

from ...base.errors import ConfigError
from ...base.names import Name
from ...base.offer import Offer
from ...files.yaml_file import MAX_TEXT, read_config

STDIN: Final = "-"
_MOST_OCTETS: Final = 4 * MAX_TEXT
_YAML: Final = (".yaml", ".yml", ".json")

# Matches the start of a zone file: a comment, a directive or a record. No YAML file starts so.
_ZONE: Final = re.compile(
    r"""\s*(?: ; | \$(?:ORIGIN|TTL|INCLUDE|GENERATE)\b
      | \S*[^\s:] [ \t]+ (?: (?:[0-9][0-9smhdw]*|IN) [ \t]+ )* (?:SRV|TXT|AAAA|A|SOA|NS) [ \t] )""",
    re.VERBOSE | re.IGNORECASE,
)


class Read(NamedTuple):
    """The offers of a file, and a remark on each record that was skipped."""

    offers: list[Offer]
    remarks: list[str]


def complete_file(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Shell completion: files. After the first word of ``md advertise`` there is nothing to complete."""
    alone = param.name == "words" and ctx.params.get("words")
    return [] if alone else [CompletionItem(incomplete, type="file")]


def shown(path: str) -> str:
    """Returns the name of a file in messages."""
    return "standard input" if path == STDIN else path


def read_offers(path: str, apex: Name, hint: str = "") -> Read:
    """Returns the services of a file. ConfigError with all its errors; `hint` is added if it does not exist."""
    source, text = shown(path), _text(path, hint)
    if is_zone(path, text):
        from ...files.zone_file import read_zone

        return Read(*read_zone(text, source, str(apex)))
    return Read(read_config(text, source), [])


def is_zone(path: str, text: str) -> bool:
    """Whether a file is a zone file: ``*.zone`` is, ``*.yaml`` is not, else its first line decides."""
    suffix = Path(path).suffix.lower()
    if suffix in (".zone", *_YAML):
        return suffix == ".zone"
    return _ZONE.match(text.removeprefix("\ufeff")) is not None


def _text(path: str, hint: str) -> str:
    source = shown(path)
    try:
        if path == STDIN:
            octets = sys.stdin.buffer.read(_MOST_OCTETS + 1) if sys.stdin else b""
        else:
            with open(path, "rb") as file:
                octets = file.read(_MOST_OCTETS + 1)
    except FileNotFoundError:
        raise ConfigError(f"the file {path!r} does not exist{hint}") from None
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL in it
        raise ConfigError(f"{source}: {getattr(error, 'strerror', None) or error}") from None
    if len(octets) > _MOST_OCTETS:
        raise ConfigError(f"{source}: the file is too large; the limit is {_MOST_OCTETS:,} octets")
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError as error:
        line = octets[: error.start].count(b"\n") + 1
        raise ConfigError(
            f"{source}:{line}: octet {octets[error.start]:#04x} is not UTF-8: save the file as UTF-8"
        ) from None


Stamp = tuple[int, ...]


def stamp(path: str) -> Stamp:
    """Returns a value that changes when the file changes: device, inode, times and size, of file and symbolic link.

    An editor that writes a new file and renames it, and Kubernetes, which swaps a link further up, change the inode.
    """
    marks: list[int] = []
    for look in (os.stat, os.lstat):
        try:
            found = look(path)
            marks += (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size)
        except (OSError, ValueError):
            marks.append(0)
    return tuple(marks)


def can_be_read_again(path: str) -> bool:
    """Whether it is a regular file, not standard input or a pipe."""
    try:
        return path != STDIN and stat.S_ISREG(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False
