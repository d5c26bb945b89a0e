"""Tests of the demo's nodes, and of the peer memory that lookups start with."""

from __future__ import annotations

from mddns.demo import running
from mddns.directory.peer_memory import Standing
from mddns.networks.settings import Settings
from mddns.system import clock


def test_whoever_looks_for_the_nodes_of_a_demonstration_waits_for_each() -> None:
    """Otherwise, on a slow machine, the first table lacks some: a lookup does not wait long for unknown peers."""
    with running() as demo:
        memory = demo.memory()
        peers = Settings.of(demo.network, environ={}).network.read(1.0).everyone()
        assert [memory.standing(peer.id, clock.now()) for peer in peers] == [Standing.REGISTRY] * 3
