"""Checks whether a real tailnet is possible on this machine."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Final

WANTED: Final = "MDDNS_TAILNET"
"""If set to 1, a test that cannot run fails instead of being skipped."""

_TOOLS: Final = {
    "ip": "iproute2",
    "nft": "nftables",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "openssl": "openssl",
    "dig": "bind9-dnsutils",
    "curl": "curl",
}


def why_not() -> str | None:
    """Returns why a real tailnet is not possible, and what to do; None if it is possible."""
    if not sys.platform.startswith("linux"):
        return "it needs network namespaces, which are Linux's"
    if os.geteuid() != 0:
        return "it needs root, for network namespaces"
    for tool, package in _TOOLS.items():
        if shutil.which(tool) is None:
            return f"{tool} is missing: apt-get install {package}"
    if not Path("/dev/net/tun").exists():
        return "there is no /dev/net/tun: modprobe tun; a container needs --device /dev/net/tun"
    return None
