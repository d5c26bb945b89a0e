"""Standard input, output and error, whatever they are: closed, full, broken, or of an encoding without umlauts."""

from __future__ import annotations

import errno
import os
import sys
from typing import Final

# What a write says when the output's other end, or its disk, takes no more.
_UNWRITABLE: Final = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF))

# EX_IOERR of sysexits.h: none of the codes that tell what was found.
CANNOT_WRITE: Final = 74
INTERRUPTED: Final = 128 + 2  # as shells have it for a program that SIGINT has ended


def prepare() -> None:
    """Opens what is closed, and lets text that an encoding lacks come out escaped instead of ending us."""
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            # Else the next socket would have its number, and whoever writes there would write to a peer.
            _to_nowhere(descriptor)
            file = open(descriptor, "w" if descriptor else "r", encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, file)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def silence(descriptor: int) -> None:
    """Sends the rest of a stream nowhere: as it ends, Python would try once more to write what it still holds."""
    _to_nowhere(descriptor)


def reader_left() -> bool:
    """Whether nobody reads our output any more: for a command that writes rarely, and would find out no sooner."""
    import select

    if not hasattr(select, "poll"):
        return False
    poll = select.poll()
    # Where no event is asked for, macOS tells of none; nobody sends this one.
    poll.register(sys.stdout.fileno(), select.POLLRDBAND)
    return any(happened & (select.POLLERR | select.POLLHUP) for _, happened in poll.poll(0))


def is_unwritable(error: OSError) -> bool:
    """Whether it says that standard output takes no more."""
    return error.errno in _UNWRITABLE and error.filename is None


def _to_nowhere(descriptor: int) -> None:
    opened = os.open(os.devnull, os.O_RDWR)
    if opened != descriptor:
        os.dup2(opened, descriptor)
        os.close(opened)
