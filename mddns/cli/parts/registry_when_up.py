"""A registry as soon as there is a network: at boot, tailscaled may well come up after us."""

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
from .options import Options
from .seconds import seconds
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
        help="Seconds to wait for network and port; default: for the network, until it is there.  [MDDNS_WAIT]",
    )(command)


def registry_when_up(
    options: Options, patience: float | None, state: str | None, pause: Callable[[float], None] = time.sleep
) -> Registry:
    """A registry on the network, which is waited for at most `patience` seconds (None: without end); then its error.

    A port that another program has is waited for where `patience` is given. `state` is the file that keeps its serial.
    ``pause(seconds)`` waits; what it raises ends the waiting. Why we wait is said whenever that is news.
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
