"""Runs the real `dig` and `kdig` on a host of the bed, and parses their output."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass, field

import pytest

from .host import PORT, Host

_SECTION = re.compile(r";; (ANSWER|AUTHORITY|ADDITIONAL) SECTION:")


@dataclass
class Reply:
    """The parsed output of a client: rcode, flags, records by section without their TTL, and the rest as text."""

    text: str
    rcode: str = ""
    flags: frozenset[str] = frozenset()
    answer: set[str] = field(default_factory=set)
    authority: set[str] = field(default_factory=set)
    additional: set[str] = field(default_factory=set)
    ttls: set[int] = field(default_factory=set)


def need(program: str) -> None:
    """Skips the test if `program` is not installed; fails it in CI."""
    if shutil.which(program) is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"{program} is not installed")


def dig(host: Host, server: str, name: str, rtype: str = "SRV", *options: str, program: str = "dig") -> Reply:
    """Queries `server` from `host`. `options` are those of dig, such as `+norec` for RD=0."""
    need(program)
    common = ["+tries=1", "+time=3"] if program == "dig" else ["+retry=0", "+time=3"]
    done = host.run([program, f"@{server}", "-p", str(PORT), *common, *options, "-t", rtype, "-q", name], timeout=15)
    return _parse(done.stdout + done.stderr)


def _parse(text: str) -> Reply:
    reply = Reply(text)
    if found := re.search(r"status: (\w+)", text):
        reply.rcode = found[1]
    if found := re.search(r"[Ff]lags: ([\w ]*);", text):
        reply.flags = frozenset(found[1].split())
    section: set[str] | None = None
    for line in text.splitlines():
        if start := _SECTION.match(line):
            section = getattr(reply, start[1].lower())
        elif not line or line.startswith(";"):
            section = None
        elif section is not None:
            owner, ttl, _, rest = line.split(None, 3)
            section.add(f"{owner} {' '.join(rest.split())}")
            reply.ttls.add(int(ttl))
    return reply
