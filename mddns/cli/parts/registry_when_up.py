"""Waits for the network and returns a registry. At boot, tailscaled may start after this process."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, TypeVar

import click

from ...base.errors import NetworkError, PortInUse, TailscaleError
from ...files.serial_file import Serials
from ...sync import Registry
from .logs import show_logs
from .options import Options, seconds
from .systemd_notify import notify
from .terminal import talk
from .watch_when_up import RETRY_EVERY

F = TypeVar("F", bound=Callable[..., Any])


def wait_option(command: F) -> F:
    """Gives a command ``--wait``: the argument `patience`, seconds."""
    return click.option(
        "--wait",
        "patience",
        type=seconds("--wait (MDDNS_WAIT)"),
        metavar="S",
        envvar="MDDNS_WAIT",
        help="Seconds to wait for the network and the port. Default: no limit for the network.  [MDDNS_WAIT]",
    )(command)


def registry_when_up(
    options: Options, patience: float | None, state: str | None, pause: Callable[[float], None] = time.sleep
) -> Registry:
    """Waits at most `patience` seconds for the network (None: no limit) and returns a registry, or raises its error.

    If `patience` is given, it waits for the port too, if another program has it. `state` is the file of the serials.
    ``pause(seconds)`` sleeps; an exception from it ends the wait. The reason is printed whenever it changes.
    """
    show_logs(options.verbose)
    serials = Serials(options.settings.apex, state)
    deadline, said = math.inf if patience is None else time.monotonic() + patience, ""
    while True:
        try:
            return Registry(options.settings, serials=serials)
        except (NetworkError, PortInUse) as error:
            left = deadline - time.monotonic()
            port = isinstance(error, PortInUse)
            if left <= 0 or (port and patience is None):
                raise
            reason = str(error)
            if reason != said:
                what = "the port" if port else "Tailscale" if isinstance(error, TailscaleError) else "the network"
                talk(f"waiting for {what}: {reason}; Ctrl-C to give up")
                notify(status=f"waiting for {what}: {reason}")
                said = reason
        pause(min(RETRY_EVERY, left))
