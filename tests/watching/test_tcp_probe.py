"""Whether anybody still answers at a port, as TCP tells it: a process that dies is not taken for one that answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from played import APEX

from mddns.watching import tcp_probe
from mddns.watching.tcp_probe import nobody_answers

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
HERE = ("127.0.0.1",)


def knocked(serve: Serve, closes_after: int | None = None) -> bool:
    """What one is told who knocks where `serve` serves; it listens no more after so many connections."""

    async def work() -> bool:
        served = 0
        open_ones = []

        async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal served
            served += 1
            open_ones.append(writer)
            if served == closes_after:
                server.close()
            await serve(reader, writer)

        server = await asyncio.start_server(count, HERE[0], 0)
        try:
            return await nobody_answers(HERE, server.sockets[0].getsockname()[1], APEX)
        finally:
            server.close()
            for writer in open_ones:
                writer.transport.abort()
            await asyncio.sleep(0)  # a transport is closed in the next turn of the loop

    return asyncio.run(work())


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    size = int.from_bytes(await reader.readexactly(2), "big")
    writer.write(size.to_bytes(2, "big") + await reader.readexactly(size))
    await writer.drain()


async def cut_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


def test_where_nobody_listens_nobody_answers() -> None:
    async def work() -> bool:
        server = await asyncio.start_server(answer, HERE[0], 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        return await nobody_answers(HERE, port, APEX)

    assert asyncio.run(work())


def test_whoever_answers_is_there() -> None:
    assert not knocked(answer)


def test_who_cuts_us_off_and_then_listens_no_more_has_ended() -> None:
    assert knocked(cut_off, closes_after=3)


def test_of_who_cuts_everybody_off_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp_probe, "WITHIN", 0.05)
    assert not knocked(cut_off)


def test_of_who_says_nothing_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    monkeypatch.setattr(tcp_probe, "WITHIN", 0.05)
    assert not knocked(wait)
