"""A watch as soon as there is a network: a boot script that waits for a service may well come before tailscaled."""

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
    """Begins to watch; the network is waited for at most `patience` seconds (None: without end), then its error.

    Why we wait is said whenever that is news, and so is that the waiting has ended.
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
                talk("the network is there")
            return
