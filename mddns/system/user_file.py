"""A small JSON file of the user's own: where it is, read if it can be, replaced as a whole.

What is kept there only saves time or trouble, so a file that cannot be read is as good as none.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from typing import Any


def own_file(variable: str, default: str, name: str) -> str | None:
    """``mddns/<name>`` where an XDG variable says, by default below ``~/<default>``; None where there is no home."""
    base = os.environ.get(variable, "")
    if not os.path.isabs(base):  # the specification wants relative ones ignored
        home = os.path.expanduser("~")
        # A home that is not there, as HOME=/nonexistent of daemons, is not ours to make, root or not.
        if not os.path.isabs(home) or not os.path.isdir(home):
            return None
        base = os.path.join(home, default)
    return os.path.join(base, "mddns", name)


def read(path: str | None, most: int) -> dict[str, Any]:
    """The object in that file; empty where there is none, or it has more than `most` octets."""
    with contextlib.suppress(OSError, ValueError, RecursionError):
        if path and os.path.getsize(path) <= most:
            with open(path, encoding="utf-8-sig") as file:
                data = json.load(file)
            return data if isinstance(data, dict) else {}
    return {}


def replace(path: str, data: Mapping[str, Any]) -> None:
    """Puts `data` in its place; who reads meanwhile gets either. OSError where that cannot be."""
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
