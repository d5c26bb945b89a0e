"""A host's own /etc/resolv.conf: ip-netns(8) mounts it over that of the machine for the programs of the host."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from .host import Host
from .netns import NeedsNamespaces

_NETNS = Path("/etc/netns")


@contextlib.contextmanager
def resolv_conf(host: Host, text: str) -> Iterator[Path]:
    """Creates the /etc/resolv.conf of the programs that this host starts from now on; removes it at the end."""
    if host.namespace is None:
        raise NeedsNamespaces("a resolv.conf of its own")
    folder = _NETNS / host.namespace
    _make(folder)
    try:
        file = folder / "resolv.conf"
        file.write_text(text)
        yield file
    finally:
        shutil.rmtree(folder)
        with contextlib.suppress(OSError):
            _NETNS.rmdir()


def _make(folder: Path) -> None:
    """Creates the directory, even if another worker removes its empty parent at the same moment."""
    while True:
        with contextlib.suppress(FileNotFoundError):
            folder.mkdir(parents=True)
            return
