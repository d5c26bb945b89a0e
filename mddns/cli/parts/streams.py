"""Makes standard input, output and error safe to use when closed, full, broken, or in a limited encoding."""

from __future__ import annotations

import errno
import os
import sys
from typing import Final

# Errors of a write to an output that is closed or full.
_UNWRITABLE: Final = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF))

# EX_IOERR of sysexits.h: differs from all exit codes of results.
CANNOT_WRITE: Final = 74
INTERRUPTED: Final = 128 + 2  # the code that shells report for a program ended by SIGINT


def prepare() -> None:
    """Opens closed streams on /dev/null, and escapes text that the encoding cannot hold."""
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            # Otherwise the next socket would get its number, and prints would go to a peer.
            _to_nowhere(descriptor)
            file = open(descriptor, "w" if descriptor else "r", encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, file)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def silence(descriptor: int) -> None:
    """Redirects a stream to /dev/null: at exit, Python would try again to write its buffer."""
    _to_nowhere(descriptor)


def reader_left() -> bool:
    """Whether the reader of stdout has closed it: for a command that writes too rarely to notice."""
    import select

    if not hasattr(select, "poll"):
        return False
    poll = select.poll()
    # macOS reports nothing if no event is requested; this event never occurs.
    poll.register(sys.stdout.fileno(), select.POLLRDBAND)
    return any(happened & (select.POLLERR | select.POLLHUP) for _, happened in poll.poll(0))


def is_unwritable(error: OSError) -> bool:
    """Whether the error means that standard output cannot be written."""
    return error.errno in _UNWRITABLE and error.filename is None


def _to_nowhere(descriptor: int) -> None:
    opened = os.open(os.devnull, os.O_RDWR)
    if opened != descriptor:
        os.dup2(opened, descriptor)
        os.close(opened)
