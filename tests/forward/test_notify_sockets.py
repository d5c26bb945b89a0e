"""NOTIFY on real sockets of loopback."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable

import dns.message
import pytest
from loopback import address, free_port, open_sockets
from played import APEX

from mddns.files.resolv_conf import Place
from mddns.forward.notify_sockets import Notifier
from mddns.zone.apex import Apex

SOA = Apex(APEX, 7, ("127.0.0.1",)).soa_record


class Secondary:
    """A socket that NOTIFY comes to, and the address that each came from."""

    def __init__(self, host: str = "") -> None:
        self.socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((host or address(), 0))
        self.socket.setblocking(False)
        self.place = Place(*self.socket.getsockname()[:2])

    async def hear(self, rcode: int | None = 0) -> tuple[str, int]:
        """Where the next one comes from, and its serial; it is answered with `rcode`, if that is any."""
        wire, source = await asyncio.get_running_loop().sock_recvfrom(self.socket, 4096)
        if rcode is not None:
            self.socket.sendto(wire[:2] + bytes((0xA4, rcode)) + wire[4:], source)
        return str(source[0]), int(dns.message.from_wire(wire).answer[0][0].serial)


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(20):
            await work()

    asyncio.run(main())


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_it_comes_from_where_we_answer_until_it_is_answered(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mddns.forward.notify.FIRST_WAIT", 0.05)

    async def work() -> None:
        before = open_sockets()
        secondary, ours = Secondary(host), "::1" if ":" in host else address()
        notifier = Notifier(APEX, [secondary.place], [Place("192.0.2.1"), Place(ours)])
        notifier.moved(SOA)
        assert await secondary.hear(rcode=None) == (ours, 7)
        assert await secondary.hear() == (ours, 7)
        await asyncio.sleep(0.3)
        with pytest.raises(BlockingIOError):
            secondary.socket.recv(1)
        notifier.close()
        secondary.socket.close()
        assert open_sockets() == before

    run(work)


def test_a_target_that_cannot_be_reached_does_not_keep_the_others_waiting(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("mddns.forward.notify.FIRST_WAIT", 0.01)

    async def work() -> None:
        nobody, nowhere = Place(address(), free_port()), Place("fe80::1%nothing")
        secondary = Secondary()
        notifier = Notifier(APEX, [nobody, nowhere, secondary.place], [])
        notifier.moved(SOA)
        await secondary.hear()
        while len(caplog.messages) < 2:
            await asyncio.sleep(0.01)
        notifier.close()
        secondary.socket.close()
        assert sorted(caplog.messages) == sorted(
            f"{place} does not answer NOTIFY; is a name server there?" for place in (nobody, nowhere)
        )

    with caplog.at_level(logging.WARNING, "mddns"):
        run(work)


def test_a_refusal_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        secondary = Secondary()
        notifier = Notifier(APEX, [secondary.place], [])
        notifier.moved(SOA)
        await secondary.hear(rcode=9)
        while not caplog.messages:
            await asyncio.sleep(0.01)
        notifier.close()
        secondary.socket.close()

    with caplog.at_level(logging.WARNING, "mddns"):
        run(work)
    assert "refused NOTIFY (rcode 9)" in caplog.text
