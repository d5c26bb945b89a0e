"""Waits for the network and opens a watch. A boot script that waits for a service may run before tailscaled."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final

from ...base.errors import NetworkError, TailscaleError
from .terminal import talk

if TYPE_CHECKING:
    from ...sync_watch import Watch

RETRY_EVERY: Final = 0.5  # seconds


def open_when_up(events: Watch, patience: float | None = None) -> None:
    """Opens the watch. Waits at most `patience` seconds for the network (None: no limit), then raises its error.

    The reason is printed whenever it changes, and so is the end of the wait.
    """
    deadline, said = math.inf if patience is None else time.monotonic() + patience, ""
    while True:
        try:
            events.open()
        except NetworkError as error:
            left = deadline - time.monotonic()
            if left <= 0:
                raise
            if (reason := str(error)) != said:
                what = "Tailscale" if isinstance(error, TailscaleError) else "the network"
                talk(f"waiting for {what}: {reason}; Ctrl-C to give up")
                said = reason
            time.sleep(min(RETRY_EVERY, left))
        else:
            if said:
                talk("the network is up")
            return
