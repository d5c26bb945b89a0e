"""Functions to wait for signals."""

from __future__ import annotations

import collections
import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Wait = Callable[[float | None], int | None]


@contextmanager
def caught(*numbers: int) -> Iterator[Wait]:
    """Yields ``wait(seconds)``: returns the next of these signals, or None after that time (None: no limit).

    The signals have no other effect meanwhile. A signal that was ignored before (``nohup``) stays ignored. They are
    read from a pipe: a Python handler does not run if its signal arrives just before a blocking call.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    arrived: collections.deque[int] = collections.deque()
    previous = {
        number: signal.signal(number, lambda *_: None)
        for number in numbers
        if signal.getsignal(number) is not signal.SIG_IGN or number == signal.SIGCHLD
    }
    wakeup = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)

    def wait(seconds: float | None) -> int | None:
        until = None if seconds is None else time.monotonic() + seconds
        while not arrived:
            left = None if until is None else max(0.0, until - time.monotonic())
            if not select.select([reading], [], [], left)[0]:
                return None
            arrived.extend(number for number in os.read(reading, 512) if number in numbers)
        return arrived.popleft()

    try:
        yield wait
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in previous.items():
            signal.signal(number, handler)
        os.close(reading)
        os.close(writing)


@contextmanager
def until_stopped() -> Iterator[Callable[[], None]]:
    """Yields a function that waits for SIGINT or SIGTERM."""
    with caught(signal.SIGINT, signal.SIGTERM) as wait:
        yield lambda: (wait(None), None)[1]


def has_terminal() -> bool:
    """Whether this process has a controlling terminal that is still open."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def terminal_sends(number: int) -> bool:
    """Whether a signal probably came from a key: then the whole process group has received it already.

    Only Linux tells the sender of a signal. A key reaches the foreground process group of the terminal.
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
