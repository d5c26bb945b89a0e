"""The peers file: how peers behaved in earlier runs of ``md``, in a small file in the user's cache directory.

It only saves time. A file that cannot be read counts as empty, and a failed write is ignored.
"""

from __future__ import annotations

import contextlib
from typing import Any, Final

from ..directory.peer_memory import Memory
from ..system.user_file import own_file, read, replace

_MOST_NETWORKS: Final = 8
_MOST_OCTETS: Final = 8 << 20


def cache_file() -> str | None:
    """``$XDG_CACHE_HOME/mddns/peers.json``, by default below ``~/.cache``; None if there is no home directory."""
    return own_file("XDG_CACHE_HOME", ".cache", "peers.json")


def load(network: str, now: float, unix: float) -> Memory:
    """Loads how the peers of `network` behaved; empty if nothing is stored."""
    return Memory.from_json(_read().get(network), now, unix)


def save(network: str, memory: Memory, now: float, unix: float) -> None:
    """Stores `memory` for `network`, in place of the old one. The file is replaced atomically."""
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
