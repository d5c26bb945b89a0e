"""What ``md`` remembers from one run to the next: how peers behaved, in a small file of the user's cache.

A file that cannot be read or written is as good as none: it only ever saves time.
"""

from __future__ import annotations

import contextlib
from typing import Any, Final

from ..directory.peer_memory import Memory
from ..system.user_file import own_file, read, replace

_MOST_NETWORKS: Final = 8
_MOST_OCTETS: Final = 8 << 20


def cache_file() -> str | None:
    """``$XDG_CACHE_HOME/mddns/peers.json``, by default below ``~/.cache``; None where there is no home."""
    return own_file("XDG_CACHE_HOME", ".cache", "peers.json")


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
    with contextlib.suppress(OSError):
        replace(path, networks)


def _read() -> dict[str, Any]:
    return read(cache_file(), _MOST_OCTETS)
