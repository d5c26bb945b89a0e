"""What `watch-ipn-bus` sends by mask while a node goes and comes, compared with the simulated bus."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from bed.process import wait_until
from bed.tailnet import Node, Tailnet
from bed.tailscaled import HOST, PlayedTailscaled

from mddns.networks.tailscale_bus import MASK, OLDER_MASK

from .machine import Machine
from .net import RealTailnet

MASKS = (0, 2, 8, 10, OLDER_MASK, MASK, 8194, 16386, 32770)
PIECES = {"PeersChanged", "PeersRemoved", "PeerChangedPatch", "UserProfiles"}


class Told(NamedTuple):
    """The reply to a watcher: the lines of its head without Date, and its messages."""

    head: set[str]
    messages: list[dict[str, Any]]

    def filled(self) -> list[set[str]]:
        """The keys of each message that are not null."""
        return [{key for key, value in each.items() if value is not None} - {"Version"} for each in self.messages]


class Watch:
    """A watcher of the bus at a socket, until `end`."""

    def __init__(self, pool: ThreadPoolExecutor, path: Path, mask: object) -> None:
        self._sock = socket.socket(socket.AF_UNIX)
        self._sock.connect(str(path))
        self._sock.sendall(f"GET /localapi/v0/watch-ipn-bus?mask={mask} HTTP/1.0\r\nHost: {HOST}\r\n\r\n".encode())
        self.octets = bytearray()
        self._done: Future[None] = pool.submit(self._read)

    def _read(self) -> None:
        while octets := self._sock.recv(1 << 16):
            self.octets += octets

    def text(self) -> tuple[set[str], str]:
        """Head and body after the end."""
        with self._sock:
            self._sock.shutdown(socket.SHUT_RDWR)
            self._done.result(10)
        head, _, body = bytes(self.octets).decode().partition("\r\n\r\n")
        return {line for line in head.split("\r\n") if not line.startswith("Date: ")}, body

    def end(self) -> Told:
        """The data so far."""
        head, body = self.text()
        return Told(head, [json.loads(line) for line in body.split("\n")[:-1]])


@pytest.fixture(scope="module")
def told(net: RealTailnet, whole: None) -> Iterator[dict[int, Told]]:
    """What alpha's daemon sent, by mask, while charlie's was killed and restarted."""
    with ThreadPoolExecutor(len(MASKS)) as pool:
        watches = {mask: Watch(pool, net["alpha"].socket, mask) for mask in MASKS}
        assert wait_until(lambda: all(b"\r\n\r\n" in each.octets for each in watches.values()), 10)
        net["charlie"].down(signal.SIGKILL)
        net["alpha"].wait_for_peer("charlie", 30, Online=False)
        net.start("charlie")
        net["charlie"].wait_for_state("Running")
        net["alpha"].wait_for_peer("charlie", 30, Online=True)
        assert wait_until(lambda: watches[OLDER_MASK].octets.count(b"\n") > 5, 10)
        yield {mask: each.end() for mask, each in watches.items()}


def test_every_mask_rings_when_a_peer_changes(told: dict[int, Told]) -> None:
    for mask, each in told.items():
        assert len(each.messages) > 1, mask


@pytest.mark.parametrize("mask", [mask for mask in MASKS if mask & 2])
def test_the_first_message_of_bit_2_has_the_state(told: dict[int, Told], mask: int) -> None:
    more = ({"NetMap", "SelfChange"} if mask & 8 else set()) | ({"InitialStatus"} if mask & 16384 else set())
    assert told[mask].filled()[0] == {"SessionID", "State"} | more
    assert told[mask].messages[0]["State"] == 6


def test_there_is_a_netmap_at_first_alone_and_for_bit_8_alone(told: dict[int, Told]) -> None:
    for mask, each in told.items():
        with_map = [number for number, keys in enumerate(each.filled()) if "NetMap" in keys]
        assert with_map == ([0] if mask & 8 else []), mask


def test_what_changes_is_told_to_those_alone_that_ask(told: dict[int, Told]) -> None:
    for mask, each in told.items():
        pieces = PIECES & set().union(*each.filled())
        assert bool(pieces) is bool(mask & (4096 | 32768)), (mask, pieces)
    assert "PeersChanged" in set().union(*told[MASK].filled())
    assert "PeerChangedPatch" in set().union(*told[32770].filled())
    assert "PeerChangedPatch" not in set().union(*told[MASK].filled())


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlayedTailscaled]:
    me = Node("alpha")
    with PlayedTailscaled(tmp_path_factory.mktemp("played") / "ts.sock", Tailnet([me, Node("bravo")]), me) as daemon:
        yield daemon


@pytest.mark.parametrize("mask", [MASK, OLDER_MASK, 2])
def test_the_played_bus_says_the_same(told: dict[int, Told], played: PlayedTailscaled, mask: int) -> None:
    """Head, keys of the first message, and keys of an empty message, which signals a change."""
    with ThreadPoolExecutor(1) as pool:
        watch = Watch(pool, played.path, mask)
        assert wait_until(lambda: played.watchers == 1 and watch.octets.count(b"\n") > 3, 10)
        played.ring()
        assert wait_until(lambda: b"\n{" in watch.octets.partition(b"\r\n\r\n")[2], 10)
        ours = watch.end()
    real = told[mask]
    assert names(ours.head) == names(real.head)
    assert set(ours.messages[0]) == set(real.messages[0])
    empty = next(each for each, keys in zip(real.messages, real.filled(), strict=True) if not keys)
    assert set(ours.messages[1]) == set(empty)


@pytest.mark.parametrize("mask", [4354, "abc", 8192 | 256, 16384 | 256, 4096 | 32768 | 256, 65538])
def test_a_mask_that_cannot_be_is_refused_in_the_same_words(
    net: RealTailnet, played: PlayedTailscaled, mask: object
) -> None:
    assert refusal(net["alpha"].socket, mask) == refusal(played.path, mask)


def names(head: set[str]) -> set[str]:
    """A head without the values that differ between daemons."""
    return {line.partition(":")[0] if line.startswith("Tailscale-Version") else line for line in head}


def refusal(path: Path, mask: object) -> tuple[set[str], str]:
    with ThreadPoolExecutor(1) as pool:
        watch = Watch(pool, path, mask)
        assert wait_until(lambda: watch.octets.endswith(b"\n") and b"\r\n\r\n" in watch.octets, 10)
        head, body = watch.text()
    return names(head), body


def test_the_bell_of_a_machine_that_is_watched_by_others(net: RealTailnet) -> None:
    """If one watcher sets bit 1 (engine updates), the daemon sends them to all watchers, every two seconds."""
    alpha: Machine = net["alpha"]
    with ThreadPoolExecutor(2) as pool:
        ours, theirs = Watch(pool, alpha.socket, MASK), Watch(pool, alpha.socket, 1)
        assert wait_until(lambda: any("Engine" in keys for keys in peek(ours)), 15)
        ours.end()
        theirs.end()


def peek(watch: Watch) -> list[set[str]]:
    body = bytes(watch.octets).partition(b"\r\n\r\n")[2]
    lines = body.split(b"\n")[:-1]
    return [{key for key, value in json.loads(line).items() if value is not None} for line in lines]
