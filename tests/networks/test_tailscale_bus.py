"""tailscaled's bus is a door-bell: it rings whatever it says, and its ugly ends are errors that say so."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from bed.process import wait_until
from bed.tailnet import Node, Tailnet
from bed.tailscaled import PlayedTailscaled, get
from loopback import in_thread
from places import TESTS

from mddns.base.errors import TailscaleError
from mddns.networks import tailscale_bus
from mddns.networks.tailscale import Tailscale
from mddns.networks.tailscale_bus import MASK, OLDER_MASK, mask_for, ring

RECORDED = TESTS / "data" / "localapi"


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[PlayedTailscaled]:
    tailnet = Tailnet([Node("alpha"), Node("bravo")])
    with PlayedTailscaled(tmp_path / "ts.sock", tailnet, tailnet.nodes[0]) as played:
        yield played


@pytest.mark.parametrize(
    ("version", "mask"),
    [
        ("1.102.5-t0123abcde", MASK),
        ("1.98.0", MASK),
        ("1.97.999-dev", OLDER_MASK),
        ("1.40.0", OLDER_MASK),
        ("2.0", MASK),
        ("", MASK),
        (None, MASK),
        ("no version", MASK),
    ],
)
def test_the_mask_goes_with_the_version(version: str | None, mask: int) -> None:
    assert mask_for(version) == mask


async def rings(daemon: PlayedTailscaled, count: int, then: str = "") -> int:
    """Listens until it has rung so often; rings for each but the first."""
    heard = 0
    async with asyncio.timeout(20), aclosing(ring(str(daemon.path), MASK)) as bell:
        async for _ in bell:
            heard += 1
            if heard == count:
                break
            daemon.ring()
    return heard


@pytest.mark.parametrize("mode", ["ok", "garbage", "huge"])
def test_it_rings_at_first_and_for_every_message_whatever_is_in_it(daemon: PlayedTailscaled, mode: str) -> None:
    daemon.bus = mode
    assert asyncio.run(rings(daemon, 5)) == 5
    assert wait_until(lambda: not daemon.watchers)


def test_it_ends_with_the_daemons_connection(daemon: PlayedTailscaled) -> None:
    daemon.bus = "closes"

    async def listen() -> int:
        return len([1 async for _ in ring(str(daemon.path), MASK)])

    assert asyncio.run(listen()) == 1


@pytest.mark.parametrize(
    ("mode", "says"),
    [("refuses", "refused the subscription to changes: 400"), ("absent", "refused the subscription to changes: 404")],
)
def test_a_daemon_that_refuses_is_an_error(daemon: PlayedTailscaled, mode: str, says: str) -> None:
    daemon.bus = mode
    with pytest.raises(TailscaleError, match=says):
        asyncio.run(rings(daemon, 1))


def test_one_that_accepts_and_says_nothing_is_given_up(
    daemon: PlayedTailscaled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tailscale_bus, "HEAD_WITHIN", 0.1)
    daemon.bus = "stalls"
    with pytest.raises(TailscaleError, match=r"the subscription to changes at .* failed"):
        asyncio.run(rings(daemon, 1))


def test_nobody_at_the_socket_is_an_error(tmp_path: Path) -> None:
    async def listen() -> None:
        async for _ in ring(str(tmp_path / "none.sock"), MASK):
            pass

    with pytest.raises(TailscaleError, match=r"cannot subscribe to changes at .*none\.sock"):
        asyncio.run(listen())


@pytest.mark.parametrize("said", [b"", b"HTTP/1.0 200 OK\r\n", b"\x00" * 200_000, b"SSH-2.0\r\n\r\n"])
def test_another_program_at_the_socket_is_an_error(tmp_path: Path, said: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        listener.settimeout(5)

        def work(stop: Any) -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                try:
                    connection.sendall(said)
                except OSError:
                    return

        async def listen() -> None:
            async for _ in ring(str(tmp_path / "s"), MASK):
                raise AssertionError("it rang")

        with in_thread(work), pytest.raises(TailscaleError):
            asyncio.run(listen())


# As the network has it


async def first_ring(network: Tailscale) -> None:
    async with asyncio.timeout(20), aclosing(network.changes()) as changes:  # type: ignore[type-var]
        async for _ in changes:
            return


def asked_masks(daemon: PlayedTailscaled) -> list[str]:
    return [target.partition("mask=")[2] for target in daemon.requests if "watch-ipn-bus" in target]


def test_an_old_daemon_is_asked_with_its_own_mask(daemon: PlayedTailscaled) -> None:
    daemon.version = "1.96.4-tabc"
    network = Tailscale(28004, str(daemon.path))
    network.read(5.0)
    asyncio.run(first_ring(network))
    assert asked_masks(daemon) == ["258"]


def test_where_one_mask_is_refused_the_other_is_asked_next_and_kept(daemon: PlayedTailscaled) -> None:
    daemon.bus = "refuses-4098"
    network = Tailscale(28004, str(daemon.path))
    with pytest.raises(TailscaleError):
        asyncio.run(first_ring(network))
    asyncio.run(first_ring(network))
    asyncio.run(first_ring(network))
    assert asked_masks(daemon) == ["4098", "258", "258"]


# The played bus against the recorded one


def test_the_played_bus_says_what_the_recorded_one_says(daemon: PlayedTailscaled) -> None:
    first, second = (RECORDED / "watch-ipn-bus-4098.jsonl").read_text().splitlines()[:2]
    assert set(json.loads(daemon._message(SessionID="x", State=6))) == set(json.loads(first))
    assert set(json.loads(daemon._message())) == set(json.loads(second)) - {"UserProfiles"}


@pytest.mark.parametrize(("mask", "status"), [("4354", 400), ("16640", 400), ("x", 400), ("258", 200)])
def test_the_played_bus_refuses_what_the_real_one_does(daemon: PlayedTailscaled, mask: str, status: int) -> None:
    if status == 200:
        daemon.bus = "closes"  # else it would never end
    assert get(daemon.path, f"/localapi/v0/watch-ipn-bus?mask={mask}")[0] == status
