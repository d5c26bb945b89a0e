"""Programs of several versions of mddns on one host: who can speak with whom does, and nobody spins."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Callable
from typing import Any

import pytest
from loopback import address, answers, free_port, network_of

from mddns.base.errors import PortInUse
from mddns.base.model import Peer
from mddns.base.names import Name
from mddns.base.offer import make
from mddns.base.policy import Policy
from mddns.host import holder, unix_socket
from mddns.host.holder import HolderSide
from mddns.host.unix_socket import HELLO, OLDEST, REFUSED, VERSION, WELCOME, channel_path, connect
from mddns.node import Node

APEX = Name.parse("minidisc.")


async def open_node(me: Peer) -> Node:
    return await Node.open(network_of(me, (me,)), APEX, timeout=0.3, policy=Policy())


def lone() -> Peer:
    return Peer("alpha", (address(),), free_port())


def said_to(hello: dict[str, Any]) -> tuple[int, str]:
    """What a holder says first to a tenant that says this: the kind of its frame, and the text."""

    async def main() -> tuple[int, str]:
        me = lone()
        node = await open_node(me)
        try:
            line = connect(channel_path(me.addresses[0], me.port))
            assert line is not None
            with line:
                payload = json.dumps({"apex": "minidisc.", "number": 7, **hello}).encode()
                line.sendall(struct.pack("!IB", len(payload), HELLO) + payload)
                loop = asyncio.get_running_loop()
                async with asyncio.timeout(10):
                    received = await loop.sock_recv(line, 65536)
                size, kind = struct.unpack_from("!IB", received)
                return kind, received[5 : 5 + size].decode()
        finally:
            await node.close()

    return asyncio.run(main())


@pytest.mark.parametrize(
    "hello",
    [
        {"version": VERSION},
        {"version": VERSION, "oldest": OLDEST},
        {"version": VERSION + 5, "oldest": VERSION, "unknown": {"key": 1}},
    ],
    ids=["as-old-ones-say-it", "ours", "newer"],
)
def test_whoever_speaks_a_version_of_ours_is_let_in(hello: dict[str, Any]) -> None:
    kind, text = said_to(hello)
    assert kind == WELCOME
    assert json.loads(text)["version"] == VERSION


def test_one_too_new_is_told_so_and_what_to_do() -> None:
    assert said_to({"version": VERSION + 2, "oldest": VERSION + 1}) == (
        REFUSED,
        f"it uses version {VERSION} of the protocol between the mddns programs of a host, this program uses version "
        f"{VERSION + 2}: end it, or upgrade its mddns",
    )


def test_one_too_old_is_told_so_and_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holder, "VERSION", 9)
    monkeypatch.setattr(holder, "OLDEST", 8)
    kind, text = said_to({"version": 7})
    assert (kind, text.partition(": ")[2]) == (REFUSED, "end this program, or upgrade its mddns")


def test_a_program_that_cannot_speak_with_the_holder_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        me = lone()
        first = await open_node(me)
        try:
            monkeypatch.setattr(holder, "OLDEST", VERSION + 1)
            loop = asyncio.get_running_loop()
            begun = loop.time()
            with pytest.raises(PortInUse, match=r"registry refused this process: it uses version .* upgrade its mddns"):
                await open_node(me)
            assert loop.time() - begun < 0.9, "it tried again and again"
        finally:
            await first.close()

    asyncio.run(main())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


def test_one_that_the_next_holder_refuses_does_not_spin_and_goes_on_when_that_ends(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As where a program was upgraded in between: its mddns speaks no version of an old tenant's any more."""

    async def main() -> None:
        me = lone()
        first, upgraded, old = await open_node(me), await open_node(me), await open_node(me)
        old.advertise(make(81, "old"))
        await old.settled()
        asked = 0
        greet = HolderSide._greet

        def strict(self: HolderSide, line: Any, number: list[int], hello: dict[str, Any]) -> None:
            nonlocal asked
            asked += self is upgraded.role._holder_side
            if self is upgraded.role._holder_side:
                hello = {**hello, "version": OLDEST - 1, "oldest": OLDEST - 1}
            greet(self, line, number, hello)

        monkeypatch.setattr(HolderSide, "_greet", strict)
        await first.close()
        await until(lambda: upgraded.role.is_holder)
        await until(lambda: asked > 0)
        await asyncio.sleep(1.5)
        assert asked <= 3, "it spins"
        await upgraded.close()
        await until(lambda: old.role.is_holder)
        assert len(await asyncio.to_thread(answers, me, "old SRV")) == 1
        await old.close()

    asyncio.run(main())
    assert len([record for record in caplog.records if "refused" in record.message]) == 1


def test_the_version_is_told_where_frames_are() -> None:
    """One place for both ends; and this test is where a new version is noticed."""
    assert (unix_socket.OLDEST, unix_socket.VERSION) == (1, 1)
