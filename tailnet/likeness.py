"""Compares the simulated tailscaled with a real one: its status is made again from its own nodes."""

from __future__ import annotations

from tests.bed.test_bed_recorded import by_name, played, shape

from .machine import Machine


def check_likeness(node: Machine, *, peers: bool = True) -> None:
    """AssertionError if the bed's document for the same nodes has other keys, or other kinds of values.

    A daemon that has logged out still lists its former peers until it restarts; `peers=False` allows that.
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
