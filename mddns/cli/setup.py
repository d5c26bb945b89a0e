"""``md setup``: prints or installs the configuration with which a resolver sends our zone's queries to us."""

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

_ASKED: Final = 2.0  # seconds for a program that only prints information
_DONE: Final = 60.0  # seconds for a program that restarts a resolver
_BOOTED: Final = "/run/systemd/system"  # sd_booted(3)
_FORMATS: Final = ("table",)


@click.command("setup")
@click.argument("kind", metavar="KIND", type=click.Choice(KINDS))
@click.option(
    "--listen", metavar="ADDR[:PORT]", help="Where the resolver sends queries. Default 127.0.0.1:5354, except as above."
)
@click.option("--apply", is_flag=True, help="Write the file and reload the resolver.")
@click.option("--undo", is_flag=True, help="Remove the file and reload the resolver.")
@click.option(
    "--root", metavar="DIR", default="", help="Use DIR as the root directory, such as an image; runs no program."
)
@common_printing(_FORMATS)
def command(kind: str, listen: str | None, apply: bool, undo: bool, root: str, options: Options) -> int:
    """Make another resolver find service names: print its configuration, or install it.

    KIND is resolved, dnsmasq, unbound, networkmanager, macos, coredns, kubernetes, headscale or tailscale
    (split DNS). The resolver then sends queries for the zone to 'md forward' at the address of --listen.
    The last three query a node of the network; the default is this machine. kubernetes uses its
    forwarder at port 5354, tailscale its forwarder at port 53, and headscale uses HTTP at port 28004
    of any node that offers a service.

    --apply and --undo work for resolved, dnsmasq, unbound and macos, and need root. They write or remove
    one file, and never touch a file that mddns did not write.

    \b
    Examples:
      md setup dnsmasq
      md setup resolved --apply
    """
    options.choose(_FORMATS)
    if apply and undo:
        raise click.UsageError("give --apply or --undo, not both")
    if root and not (apply or undo):
        raise click.UsageError("--root needs --apply or --undo")
    if (apply or undo) and kind not in APPLICABLE:
        raise click.UsageError(
            f"--apply and --undo work only for {', '.join(APPLICABLE)}; 'md setup {kind}' prints what to configure"
        )
    to = _target(kind, listen, options)._replace(network_options=options.network)
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
            talk(f"{address} is only an example, as no network was found: name a real node with --listen ADDRESS")
    return target(apex, listen, port=port, address=address)


def _systemd() -> int | None:
    """Returns the version of systemd; None if there is none."""
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
        raise ConfigError(f"{place} was restored, since {shlex.join(made.test)} reported: {problem}")
    for other in others:
        if drop_in.take_away(other, is_ours):
            talk(f"removed {other}, which this file replaces")
    talk(f"wrote {place}" if changed else f"{place} is already up to date")
    for line in made.first:
        talk(f"keep this running: {line}")
    return _reload(made, root, changed)


def _undo(made: Recipe, root: str) -> int:
    gone = [place for place in (_below(root, each) for each in made.places) if drop_in.take_away(place, is_ours)]
    for place in gone:
        talk(f"removed {place}")
    if not gone:
        talk(f"nothing to undo: no file {_below(root, made.places[0])}")
        return 0
    return _reload(made, root, changed=True)


def _reload(made: Recipe, root: str, changed: bool) -> int:
    """Reloads the program if it is installed; otherwise prints how. Returns the exit code."""
    shown = f"sudo {shlex.join(made.reload)}"
    here = shutil.which(made.reload[0]) and (made.reload[0] != "systemctl" or os.path.isdir(_BOOTED))
    if root or not changed or not here:
        talk(f"to load it, run: {shown}")
        return 0
    problem = _run(made.reload)
    if problem is not None:
        talk(f"it is not loaded yet; {shlex.join(made.reload)} reported: {problem}", "error")
        return 1
    talk(f"ran {shlex.join(made.reload)}")
    return 0


def _run(argv: Sequence[str]) -> str | None:
    """Runs a program. Returns None if it succeeded or does not exist; otherwise its error text."""
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
