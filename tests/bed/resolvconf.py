"""A host's own /etc/resolv.conf: what ip-netns(8) mounts over the machine's for each program that a host starts."""

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
    """The file that programs started on that host from now on find as /etc/resolv.conf; gone at the end."""
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
    """Makes it, though another worker may remove its parent, which was empty, at the same moment."""
    while True:
        with contextlib.suppress(FileNotFoundError):
            folder.mkdir(parents=True)
            return
