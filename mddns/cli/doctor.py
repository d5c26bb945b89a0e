"""``md doctor``: finds problems and prints the commands that fix them."""

from __future__ import annotations

import json
import re
import shlex
import time
from typing import Final

import click

from ..base.model import DEFAULT_DOMAIN
from ..doctor.finding import FAIL, WARN, Finding, exit_code
from ..doctor.gather import examine
from ..files.peers_file import load
from ..system import clock
from .parts.options import Options, common_printing, remembered_as
from .parts.terminal import clean, talk

_FIX = "-> "
_FORMATS: Final = ("table", "json", "jsonl")
_COMMAND: Final = re.compile(r"(?<![\w'/])md (?:doctor|forward|setup \w+)")


@click.command("doctor")
@common_printing(_FORMATS)
def command(options: Options) -> int:
    """Find problems on this machine and print the commands that fix them. Changes nothing.

    Checks the Tailscale daemon, this machine's addresses, which programs hold the port of mddns and
    port 53, all peers, their versions and clocks, one query for all services, and whether the
    system's resolver finds service names. Takes less than three seconds. Only root sees the programs
    of other users' sockets.

    Each finding is ok, warn or fail. The command that fixes it stands below. The exit code is 0 if
    nothing failed, 1 if a check failed, and 3 if the failure kept md from querying the network.
    docs/json.md describes the output of -o json.

    \b
    Examples:
      md doctor
      md doctor -o json
    """
    output = options.choose(_FORMATS)
    settings = options.settings
    findings = examine(settings, load(remembered_as(settings), clock.now(), time.time()))
    flags = _flags(options)
    findings = [each._replace(fix=_COMMAND.sub(lambda found: found[0] + flags, each.fix)) for each in findings]
    if output == "json":
        click.echo(json.dumps([finding.to_json() for finding in findings], indent=2))
    elif output == "jsonl":
        for finding in findings:
            click.echo(json.dumps(finding.to_json()))
    else:
        _show(findings)
    return exit_code(findings)


def _flags(options: Options) -> str:
    """The flags with which the commands of a fix are about the same network and domain."""
    apex = str(options.settings.apex).rstrip(".")
    domain = () if apex == DEFAULT_DOMAIN else ("--domain", apex)
    return "".join(f" {shlex.quote(word)}" for word in (*options.network, *domain))


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
        talk(f"{len(findings)} checks: {failed} failed, {warned} with warnings")
