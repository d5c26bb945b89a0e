"""The played tailscaled against the real one: the status of a living daemon, played again from its own nodes."""

from __future__ import annotations

from tests.bed.test_bed_recorded import by_name, played, shape

from .machine import Machine


def check_likeness(node: Machine, *, peers: bool = True) -> None:
    """AssertionError where the bed's document for the same nodes has other keys, or other kinds of values.

    Who has logged out goes on telling of the peers that it had, until it restarts: not `peers` lets that be.
    """
    real = node.status()
    ours = played(real)
    assert shape(ours | {"Peer": None, "User": None}) == shape(real | {"Peer": None, "User": None})
    if not peers:
        return
    assert type(ours["Peer"]) is type(real["Peer"])
    assert type(ours["User"]) is type(real["User"])
    for host, told in by_name(real).items():
        assert shape(by_name(ours)[host]) == shape(told), host
