"""Whether a service answers over IPv6 is found out by connecting."""

from __future__ import annotations

import asyncio
import socket

import pytest
from played import ALPHA, SINCE

from mddns import health
from mddns.health import SixProbe
from mddns.offer import make
from mddns.registry import Registration, Registry


def registration(port: int) -> Registration:
    return Registry(ALPHA, False, SINCE).advertise(make(port, "web"), SINCE)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(health, "_LONGEST_PAUSE", 0.01)


def test_it_is_found_out_at_once_and_again_when_it_changes(quick: None) -> None:
    found: list[bool] = []

    async def until(wanted: bool) -> None:
        while found[-1:] != [wanted]:
            await asyncio.sleep(0.001)

    async def main() -> None:
        probe = SixProbe(lambda registration, answers: found.append(answers))
        with socket.socket(socket.AF_INET6) as listener:
            listener.bind(("::1", 0))
            port = listener.getsockname()[1]
            probe.watch(registration(port), "::1")
            async with asyncio.timeout(5):
                await until(False)
                listener.listen()
                await until(True)
        async with asyncio.timeout(5):
            await until(False)
        await probe.close()

    asyncio.run(main())


def test_what_is_forgotten_is_not_watched_any_more(quick: None) -> None:
    found: list[bool] = []

    async def main() -> None:
        probe = SixProbe(lambda registration, answers: found.append(answers))
        watched = registration(9)
        probe.watch(watched, "::1")
        probe.watch(watched, "::1")
        async with asyncio.timeout(5):
            while not found:
                await asyncio.sleep(0.001)
        probe.forget(watched)
        probe.forget(watched)
        count = len(found)
        await asyncio.sleep(0.05)
        assert len(found) <= count + 1
        await probe.close()
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())


def test_an_address_that_cannot_be_reached_is_no_answer(quick: None) -> None:
    found: list[bool] = []

    async def main() -> None:
        probe = SixProbe(lambda registration, answers: found.append(answers))
        probe.watch(registration(80), "2001:db8::1")
        async with asyncio.timeout(5):
            while not found:
                await asyncio.sleep(0.001)
        await probe.close()

    asyncio.run(main())
    assert not any(found)
