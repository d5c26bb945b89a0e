"""Signals as something to wait for."""

from __future__ import annotations

import os
import queue
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

_WAIT: Final = 3600.0  # a wait without end could not be interrupted on every platform

Wait = Callable[[float | None], int | None]


@contextmanager
def caught(*numbers: int) -> Iterator[Wait]:
    """Gives a function that waits for the next of these signals, at most so many seconds (None: without end).

    From here on they do nothing else; what was ignored before (``nohup``) is still ignored.
    """
    arrived: queue.SimpleQueue[int] = queue.SimpleQueue()
    previous = {
        number: signal.signal(number, lambda number, _: arrived.put(number))
        for number in numbers
        if signal.getsignal(number) is not signal.SIG_IGN
    }

    def wait(seconds: float | None) -> int | None:
        while True:
            try:
                return arrived.get(timeout=_WAIT if seconds is None else seconds)
            except queue.Empty:
                if seconds is not None:
                    return None

    try:
        yield wait
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def until_stopped() -> Iterator[Callable[[], None]]:
    """Gives a function that waits for SIGINT or SIGTERM."""
    with caught(signal.SIGINT, signal.SIGTERM) as wait:
        yield lambda: (wait(None), None)[1]


def has_terminal() -> bool:
    """Whether this process hangs on a terminal that is still there."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def terminal_sends(number: int) -> bool:
    """Whether a signal that has just come is most likely a key pressed: then all of our process group has it already.

    Who sent a signal is told on Linux alone. A key reaches the group that is in front at the terminal.
    """
    if number not in (signal.SIGINT, signal.SIGQUIT):
        return False
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
