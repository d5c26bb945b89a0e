"""Recipes, a file for each kind of resolver. No file is written and nothing is run here."""

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
# Those of which there is one file to put on this machine.
APPLICABLE: Final = ("resolved", "dnsmasq", "unbound", "macos")
# Those that ask a node of the network rather than this machine's own forwarder, at which port unless told.
AT_A_NODE: Final = {"kubernetes": FORWARDER_PORT, "headscale": 28004, "tailscale": 53}


def recipe(kind: str, to: Target, *, systemd: int | None = None) -> Recipe:
    """The recipe of one of KINDS. `systemd` is that program's version where it is known."""
    module = import_module(f".{kind}", __name__)
    made = module.recipe(to, systemd) if kind == "resolved" else module.recipe(to)
    assert isinstance(made, Recipe)  # noqa: S101 - each of our files makes one
    return made
