"""A small JSON file of the user: finds its path, reads it, replaces it as a whole.

Its data only save time or trouble, so a file that cannot be read is treated as missing.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from typing import Any


def own_file(variable: str, default: str, name: str) -> str | None:
    """The path of ``mddns/<name>`` below an XDG variable's path, else below ``~/<default>``; None without a home."""
    base = os.environ.get(variable, "")
    if not os.path.isabs(base):  # the XDG specification says to ignore relative paths
        home = os.path.expanduser("~")
        # We do not create a missing home, such as HOME=/nonexistent of daemons, even as root.
        if not os.path.isabs(home) or not os.path.isdir(home):
            return None
        base = os.path.join(home, default)
    return os.path.join(base, "mddns", name)


def read(path: str | None, most: int) -> dict[str, Any]:
    """Returns the object in the file; empty if it cannot be read or has more than `most` octets."""
    with contextlib.suppress(OSError, ValueError, RecursionError):
        if path and os.path.getsize(path) <= most:
            with open(path, encoding="utf-8") as file:
                data = json.loads(file.read().removeprefix("\ufeff"))
            return data if isinstance(data, dict) else {}
    return {}


def replace(path: str, data: Mapping[str, Any]) -> None:
    """Replaces the file by `data`; a concurrent reader gets the old or the new file. Raises OSError."""
    temporary = f"{path}.{os.getpid()}"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump(data, file)
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
