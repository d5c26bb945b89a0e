"""``md doctor``: what is wrong, and what mends it."""

from __future__ import annotations

import json
import time
from typing import Final

import click

from ..doctor.finding import FAIL, WARN, Finding, exit_code
from ..doctor.gather import examine
from ..files.peers_file import load
from ..system import clock
from .parts.options import Options, common_printing, remembered_as
from .parts.terminal import clean, talk

_FIX = "-> "
_FORMATS: Final = ("table", "json", "jsonl")


@click.command("doctor")
@common_printing(_FORMATS)
def command(options: Options) -> int:
    """What is wrong here, and what mends it? It takes less than three seconds, and changes nothing.

    It looks at the Tailscale daemon, this machine's addresses, who has the port of mddns and port
    53, asks all peers, compares versions and clocks, asks for everything once, and sees whether the
    system's resolver sends our names to us. As root it tells whose sockets they are.

    Each finding is ok, warn or fail; below those that are not ok stands what mends them. The exit
    code is 0 unless one is fail, then 1, or 3 where that kept the network from being asked.
    With -o json, docs/json.md tells the shape.

    \b
    Examples:
      md doctor
      md doctor -o json
    """
    output = options.choose(_FORMATS)
    settings = options.settings
    findings = examine(settings, load(remembered_as(settings), clock.now(), time.time()))
    if output == "json":
        click.echo(json.dumps([finding.to_json() for finding in findings], indent=2))
    elif output == "jsonl":
        for finding in findings:
            click.echo(json.dumps(finding.to_json()))
    else:
        _show(findings)
    return exit_code(findings)


def _show(findings: list[Finding]) -> None:
    width = max(len(finding.check) for finding in findings)
    for finding in findings:
        click.echo(f"{finding.state:4}  {finding.check:{width}}  {clean(finding.what)}")
        for line in finding.fix.splitlines():
            click.echo(f"{'':{6 + width}}{_FIX}{clean(line)}")
    failed, warned = (sum(finding.state == state for finding in findings) for state in (FAIL, WARN))
    if not failed and not warned:
        talk(f"{len(findings)} checks, all ok")
    else:
        talk(f"{len(findings)} checks: {failed} failed, {warned} warned of something")
