"""Recipes that make a resolver use mddns: one module for each kind of resolver.

They only make text. Only drop_in.py writes files, and no command is run here.
"""

from __future__ import annotations

from importlib import import_module
from typing import Final

from .recipe import (
    EXAMPLE_NODE,
    FORWARDER_PORT,
    LISTEN,
    File,
    Recipe,
    Target,
    apply_command,
    content,
    is_ours,
    target,
    text,
    undo_command,
)

__all__ = [
    "APPLICABLE", "AT_A_NODE", "EXAMPLE_NODE", "FORWARDER_PORT", "KINDS", "LISTEN", "File", "Recipe", "Target",
    "apply_command", "content", "is_ours", "recipe", "target", "text", "undo_command",
]  # fmt: skip

KINDS: Final = (
    "resolved",
    "dnsmasq",
    "unbound",
    "networkmanager",
    "macos",
    "coredns",
    "kubernetes",
    "headscale",
    "tailscale",
)
# The kinds that need exactly one file on this machine, so that md can write it.
APPLICABLE: Final = ("resolved", "dnsmasq", "unbound", "macos")
# The kinds that ask a node of the network instead of this machine's own forwarder, with the default port.
AT_A_NODE: Final = {"kubernetes": FORWARDER_PORT, "headscale": 28004, "tailscale": 53}


def recipe(kind: str, to: Target, *, systemd: int | None = None) -> Recipe:
    """The recipe of one of KINDS. `systemd` is the version of systemd; None if it is not known."""
    module = import_module(f".{kind}", __name__)
    made = module.recipe(to, systemd) if kind == "resolved" else module.recipe(to)
    assert isinstance(made, Recipe)  # noqa: S101 - each of our files makes one
    return made
