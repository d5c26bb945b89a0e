"""Our files in the configuration of other programs. Only files that we wrote are ever replaced or removed."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable
from typing import Final

from ..base.errors import ConfigError

_MODE: Final = 0o644
_MOST_OCTETS: Final = 1 << 20


def read(path: str, is_ours: Callable[[str], bool]) -> str | None:
    """Returns the text of our file; None if there is no file. ConfigError if it is not ours, or is no plain file.

    OSError if it cannot be read.
    """
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            raise ConfigError(
                f"{path} is not a regular file, so mddns does not replace or remove it: move it away first"
            )
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            text = file.read(_MOST_OCTETS)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not is_ours(text):
        raise ConfigError(f"{path} was not written by mddns, so mddns does not change it: move it away first")
    return text


def put(path: str, text: str, is_ours: Callable[[str], bool], *, directory: bool) -> bool:
    """Writes `text` atomically. Returns whether the file changed. With `directory`, makes a missing directory.

    ConfigError as for :func:`read`, and if there is no directory; OSError if the file cannot be written.
    """
    if read(path, is_ours) == text:
        return False
    folder = os.path.dirname(path)
    if directory:
        os.makedirs(folder, exist_ok=True)
    elif not os.path.isdir(folder):
        raise ConfigError(
            f"there is no directory {folder}: install the program that reads it. "
            "If that program reads another directory, write the file there"
        )
    # Programs that read the directory now skip names with a leading dot.
    temporary = os.path.join(folder, f".{os.path.basename(path)}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, _MODE)
    try:
        with open(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
            os.fchmod(descriptor, _MODE)  # regardless of the umask: mostly another user reads the file
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    return True


def take_away(path: str, is_ours: Callable[[str], bool]) -> bool:
    """Removes our file; False if there is none. Raises the errors of :func:`read`."""
    if read(path, is_ours) is None:
        return False
    os.unlink(path)
    return True
