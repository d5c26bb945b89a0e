"""What a check finds, over real sockets; and whether a service answers over IPv6 is found out by connecting."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
from played import ALPHA, SINCE

from mddns.base.health_check import Check
from mddns.base.offer import make
from mddns.host import health_checks
from mddns.host.health_checks import Health, Target, probe
from mddns.registry import health_verdict
from mddns.registry.registry import Registration, Registry

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def registration(port: int) -> Registration:
    return Registry(ALPHA, False, SINCE).advertise(make(port, "web"), SINCE)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_checks, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(health_checks, "_LONGEST_PAUSE", 0.01)
    monkeypatch.setattr(health_verdict, "FIRST_INTERVAL", 0.001)


def probed(check: Check, answer: bytes, *, end: bool = True) -> tuple[str | None, bytes]:
    """What a check says of a server that sends `answer` to whatever it is asked; and what it was asked."""
    asked = b""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked = await reader.readuntil(b"\r\n\r\n") if check.path else b""
        writer.write(answer)
        if not end:
            await reader.read()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    async def main() -> str | None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            problem = await probe(check, "127.0.0.1", server.sockets[0].getsockname()[1])
            # The server's side ends, too.
            await asyncio.gather(*(each for each in asyncio.all_tasks() if each is not asyncio.current_task()))
        return problem

    return asyncio.run(main()), asked


def http(status: int, body: bytes = b"") -> bytes:
    return b"HTTP/1.1 %d Whatever\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


def test_a_connect_is_enough_for_tcp() -> None:
    assert probed(Check(), b"")[0] is None


def test_a_closed_port_fails() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        for check in (Check(), Check("/")):
            problem = asyncio.run(probe(check, "127.0.0.1", port))
            assert problem == f"127.0.0.1:{port}: {os.strerror(errno.ECONNREFUSED)}"


def test_get_asks_for_the_path_at_the_address() -> None:
    problem, asked = probed(Check("/healthz?x=1"), http(200))
    assert problem is None
    assert asked.startswith(b"GET /healthz?x=1 HTTP/1.1\r\nHost: 127.0.0.1:")


@pytest.mark.parametrize(
    ("check", "answer", "problem"),
    [
        (Check("/"), http(204), None),
        (Check("/"), http(301), "status 301"),
        (Check("/"), http(500), "status 500"),
        (Check("/", 301), http(301), None),
        (Check("/", 200), http(204), "status 204"),
        (Check("/", text="ready"), http(200, b"not yet"), "no 'ready' in the response"),
        (Check("/", text="ready"), http(200, b"x" * 9000 + b"ready"), None),
        (Check("/", text="ready"), http(200, b"x" * 200_000 + b"ready"), "no 'ready' in the response"),
        (Check("/", text="ready"), b"HTTP/1.0 200 OK\r\n\r\nalready", None),
        (Check("/"), b"HTTP/1.1 100 Continue\r\n\r\n" + http(200), None),
    ],
)
def test_get_judges_status_and_text(check: Check, answer: bytes, problem: str | None) -> None:
    assert probed(check, answer)[0] == problem


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH\r\n", b"", b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000])
def test_what_speaks_no_http_fails(answer: bytes) -> None:
    problem = probed(Check("/"), answer)[0]
    assert problem is not None
    assert "does not speak HTTP" in problem or "reset" in problem.lower()


def test_who_does_not_answer_in_time_fails() -> None:
    problem = probed(Check("/", timeout=0.1), b"HTTP/1.1 200", end=False)[0]
    assert problem is not None
    assert problem.endswith("did not answer within 0.1 s")


class Told:
    """What the two callbacks were told."""

    def __init__(self) -> None:
        self.held: list[str] = []
        self.six: list[bool] = []
        self.health = Health(lambda _, held: self.held.append(held), lambda _, answers: self.six.append(answers))

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not condition():
                await asyncio.sleep(0.001)


def run(work: Callable[[Told], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        told = Told()
        await work(told)
        await told.health.close()
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())


def test_a_service_is_offered_while_its_check_passes(quick: None) -> None:
    async def work(told: Told) -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
            told.health.watch(registration(port), Target(Check(interval=0.001, down=1), "127.0.0.1", port, None))
            await told.until(lambda: told.held[-1:] == [f"tcp: 127.0.0.1:{port}: {os.strerror(errno.ECONNREFUSED)}"])
            listener.listen()
            await told.until(lambda: told.held[-1] == "")
        await told.until(lambda: told.held[-1] != "")

    run(work)


def test_a_watch_begins_anew_where_the_address_is_another(quick: None) -> None:
    async def work(told: Told) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port, watched = listener.getsockname()[1], registration(80)
            told.health.watch(watched, Target(Check(), "127.0.0.2", port, None))
            await told.until(lambda: bool(told.held))
            assert told.held[-1]
            told.health.watch(watched, Target(Check(), "127.0.0.1", port, None))
            await told.until(lambda: told.held[-1] == "")

    run(work)


def test_ipv6_is_tried_at_once_and_again_when_it_changes(quick: None) -> None:
    async def work(told: Told) -> None:
        with socket.socket(socket.AF_INET6) as listener:
            listener.bind(("::1", 0))
            port = listener.getsockname()[1]
            told.health.watch(registration(port), Target(None, "127.0.0.1", port, "::1"))
            await told.until(lambda: told.six[-1:] == [False])
            listener.listen()
            await told.until(lambda: told.six[-1:] == [True])
        await told.until(lambda: told.six[-1:] == [False])

    run(work)


def test_ipv6_is_tried_with_each_check(quick: None) -> None:
    async def work(told: Told) -> None:
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
            port = listener.getsockname()[1]
            told.health.watch(registration(port), Target(Check(interval=0.001), "::1", port, "::1"))
            await told.until(lambda: told.six[-3:] == [True] * 3)

    run(work)


def test_what_is_forgotten_is_not_watched_any_more(quick: None) -> None:
    async def work(told: Told) -> None:
        watched = registration(9)
        target = Target(None, "127.0.0.1", 9, "::1")
        told.health.watch(watched, target)
        told.health.watch(watched, target)
        await told.until(lambda: bool(told.six))
        told.health.forget(watched)
        told.health.forget(watched)
        count = len(told.six)
        await asyncio.sleep(0.05)
        assert len(told.six) <= count + 1

    run(work)


def test_an_address_that_cannot_be_reached_is_no_answer(quick: None) -> None:
    async def work(told: Told) -> None:
        told.health.watch(registration(80), Target(None, "127.0.0.1", 80, "2001:db8::1"))
        await told.until(lambda: bool(told.six))
        assert not any(told.six)

    run(work)
