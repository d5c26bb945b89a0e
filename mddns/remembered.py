"""What ``md`` remembers from one run to the next: how peers behaved, in a small file of the user's cache.

A file that cannot be read or written is as good as none: it only ever saves time.
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import Any, Final

from .memory import Memory

_MOST_NETWORKS: Final = 8
_MOST_OCTETS: Final = 8 << 20


def cache_file() -> str | None:
    """``$XDG_CACHE_HOME/mddns/peers.json``, by default below ``~/.cache``; None where there is no home."""
    return own_file("XDG_CACHE_HOME", ".cache", "peers.json")


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


def load(network: str, now: float, unix: float) -> Memory:
    """How the peers of `network` behaved; empty where nothing is remembered."""
    return Memory.from_json(_read().get(network), now, unix)


def save(network: str, memory: Memory, now: float, unix: float) -> None:
    """Remembers it, in place of what was remembered of that network; atomically."""
    path = cache_file()
    if path is None:
        return
    networks = _read()
    networks.pop(network, None)
    networks[network] = memory.to_json(now, unix)
    for oldest in list(networks)[:-_MOST_NETWORKS]:
        del networks[oldest]
    temporary = f"{path}.{os.getpid()}"
    with contextlib.suppress(OSError):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        try:
            with open(temporary, "w", encoding="utf-8") as file:
                json.dump(networks, file)
            os.replace(temporary, path)
        except OSError:
            os.unlink(temporary)


def _read() -> dict[str, Any]:
    path = cache_file()
    with contextlib.suppress(OSError, ValueError, RecursionError):
        if path and os.path.getsize(path) <= _MOST_OCTETS:
            with open(path, encoding="utf-8") as file:
                data = json.load(file)
            return data if isinstance(data, dict) else {}
    return {}
