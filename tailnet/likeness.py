"""Compares the simulated tailscaled with a real one: produces the status of the running daemon from its nodes."""

from __future__ import annotations

from tests.bed.test_bed_recorded import by_name, played, shape

from .machine import Machine


def check_likeness(node: Machine, *, peers: bool = True) -> None:
    """AssertionError if the bed's document for the same nodes has other keys, or other kinds of values.

    After logout a daemon still lists its former peers until it restarts; use `peers=False` to ignore them.
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
