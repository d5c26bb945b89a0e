"""``md setup``: what makes a resolver send our names to us; printed, or put there."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from typing import Final

import click

from ..base.errors import ConfigError, Error
from ..resolver import STATUS_TIMEOUT
from ..setup import (
    APPLICABLE,
    AT_A_NODE,
    EXAMPLE_NODE,
    FORWARDER_PORT,
    KINDS,
    LISTEN,
    Recipe,
    Target,
    apply_command,
    content,
    drop_in,
    is_ours,
    recipe,
    target,
    text,
    undo_command,
)
from ..setup.resolved import version
from .parts.options import Options, common_printing
from .parts.terminal import talk

_ASKED: Final = 2.0  # seconds for a program that only tells something
_DONE: Final = 60.0  # for one that restarts a resolver
_BOOTED: Final = "/run/systemd/system"  # sd_booted(3)
_FORMATS: Final = ("table",)


@click.command("setup")
@click.argument("kind", metavar="KIND", type=click.Choice(KINDS))
@click.option("--listen", metavar="ADDR[:PORT]", help="Where to ask: 127.0.0.1:5354, unless told otherwise above.")
@click.option("--apply", is_flag=True, help="Put the file there, and have it read.")
@click.option("--undo", is_flag=True, help="Take the file away again.")
@click.option("--root", metavar="DIR", default="", help="Apply or undo below DIR, an image say; nothing is run then.")
@common_printing(_FORMATS)
def command(kind: str, listen: str | None, apply: bool, undo: bool, root: str, options: Options) -> int:
    """Have other resolvers find our names: print what to put where, or put it there.

    KIND is resolved, dnsmasq, unbound, networkmanager, macos, coredns, kubernetes, headscale or tailscale
    (split DNS). All of them ask 'md forward', where --listen says. The last three ask a node of the
    network, this machine unless --listen names another: kubernetes its forwarder at port 5354,
    headscale any that offers something, by HTTP at port 28004, and tailscale its forwarder at port 53.

    --apply and --undo are for resolved, dnsmasq, unbound and macos. They write, or remove, one file, never
    one that is not ours, and need root.

    \b
    Examples:
      md setup dnsmasq
      md setup resolved --apply
    """
    options.choose(_FORMATS)
    if apply and undo:
        raise click.UsageError("--apply or --undo, not both")
    if root and not (apply or undo):
        raise click.UsageError("--root is for --apply and --undo")
    if (apply or undo) and kind not in APPLICABLE:
        raise click.UsageError(
            f"--apply and --undo are for {', '.join(APPLICABLE)}; 'md setup {kind}' prints what to put where"
        )
    to = _target(kind, listen, options)
    made = recipe(kind, to, systemd=_systemd() if kind == "resolved" else None)
    if not apply and not undo:
        click.echo(text(made, to), nl=False)
        return 0
    typed = (apply_command if apply else undo_command)(kind, to)
    try:
        return _apply(made, root) if apply else _undo(made, root)
    except OSError as error:
        if isinstance(error, Error):
            raise
        problem = f"{error.filename or made.places[0]}: {error.strerror or error}"
        if isinstance(error, PermissionError):  # sudo has a PATH of its own
            problem += f': try sudo "$(command -v mddns)" {typed.removeprefix("md ")}'
        raise ConfigError(problem) from None


def _target(kind: str, listen: str | None, options: Options) -> Target:
    apex = str(options.settings.apex)
    if kind not in AT_A_NODE:
        return target(apex, listen, port=FORWARDER_PORT, address=LISTEN)
    port = options.settings.port if kind == "headscale" else AT_A_NODE[kind]
    address = EXAMPLE_NODE
    if listen is None:
        try:
            me = options.settings.network.read(STATUS_TIMEOUT).me
        except Error:
            me = None
        if me is not None:
            address = me.addresses[0]
        else:
            talk(f"{address} stands for a node of your network, which is not known here: --listen ADDRESS names one")
    return target(apex, listen, port=port, address=address)


def _systemd() -> int | None:
    """The version of systemd here; None where there is none."""
    try:
        done = subprocess.run(
            ["systemctl", "--version"],  # noqa: S607 - whichever stands first in PATH
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_ASKED,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return version(done.stdout)


def _below(root: str, place: str) -> str:
    return os.path.join(root, place.lstrip("/")) if root else place


def _apply(made: Recipe, root: str) -> int:
    place, *others = (_below(root, each) for each in made.places)
    wanted = content(made, made.files[0])
    before, *_ = (drop_in.read(each, is_ours) for each in (place, *others))
    changed = drop_in.put(place, wanted, is_ours, directory=made.directory or bool(root))
    if made.test and changed and not root and (problem := _run(made.test)) is not None:
        if before is None:
            drop_in.take_away(place, is_ours)
        else:
            drop_in.put(place, before, is_ours, directory=False)
        raise ConfigError(f"{place} is as it was before: with it, {shlex.join(made.test)} said: {problem}")
    for other in others:
        if drop_in.take_away(other, is_ours):
            talk(f"took {other} away, in whose place this is")
    talk(f"wrote {place}" if changed else f"{place} is as it should be")
    for line in made.first:
        talk(f"for as long as it is to work, run: {line}")
    return _reload(made, root, changed)


def _undo(made: Recipe, root: str) -> int:
    gone = [place for place in (_below(root, each) for each in made.places) if drop_in.take_away(place, is_ours)]
    for place in gone:
        talk(f"took {place} away")
    if not gone:
        talk(f"nothing to undo: there is no {_below(root, made.places[0])}")
        return 0
    return _reload(made, root, changed=True)


def _reload(made: Recipe, root: str, changed: bool) -> int:
    """Has the program read its files, where it is here; else says how."""
    shown = f"sudo {shlex.join(made.reload)}"
    here = shutil.which(made.reload[0]) and (made.reload[0] != "systemctl" or os.path.isdir(_BOOTED))
    if root or not changed or not here:
        talk(f"to make it count: {shown}")
        return 0
    problem = _run(made.reload)
    if problem is not None:
        talk(f"it does not count yet; {shlex.join(made.reload)} said: {problem}", "error")
        return 1
    talk(f"ran {shlex.join(made.reload)}")
    return 0


def _run(argv: Sequence[str]) -> str | None:
    """Runs a program: None where all went well, or it is not there; else what it said."""
    try:
        done = subprocess.run(  # noqa: S603 - the words are a recipe's own
            argv, capture_output=True, text=True, errors="replace", timeout=_DONE, check=False, stdin=subprocess.DEVNULL
        )
    except FileNotFoundError:
        return None
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return None
    return " ".join((done.stderr or done.stdout).split()) or f"exit status {done.returncode}"
