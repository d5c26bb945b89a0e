"""A subscriber and a host of few words, by RFC 8490 and RFC 8765, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Awaitable, Callable
from typing import Self

import pytest
from loopback import address

from mddns.base.errors import BadMessage
from mddns.base.names import Name
from mddns.dns.dso import DSOTYPENI, framed, read, retry_delay, write
from mddns.dns.message import AA, ANY, AXFR, IN, QR, SERVFAIL, SOA
from mddns.dns.writer import Packer
from mddns.responder.push_subscriptions import PUSH, RECONFIRM, SUBSCRIBE, UNSUBSCRIBE, Change, write_pushes
from mddns.watching import push_client
from mddns.watching.push_client import LONGEST_REFUSAL, PushClient
from mddns.zone.secondary import Secondary

APEX = Name.parse("minidisc.")


class Line:
    """The host's end: what `subscriber` asks."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, subscriber: PushClient) -> None:
        self.reader, self.writer, self.subscriber = reader, writer, subscriber
        self.transfers: list[bytes] = []

    async def next(self) -> bytes:
        """The next message that is no question for a transfer."""
        while True:
            (size,) = struct.unpack("!H", await self.reader.readexactly(2))
            wire = await self.reader.readexactly(size)
            if wire[-4:-2] != AXFR.to_bytes(2, "big"):
                return wire
            self.transfers.append(wire)

    def say(self, *wires: bytes) -> None:
        """Sends messages."""
        self.writer.write(b"".join(map(framed, wires)))

    async def granted(self) -> Self:
        """The subscription stands."""
        wire = await self.next()
        assert read(wire).tlvs[0].kind == SUBSCRIBE
        self.say(write(read(wire).id, response=True))
        return self


def told(work: Callable[[Line], Awaitable[None]]) -> PushClient:
    """A subscriber to a host that does `work`, when it has ended; raises what the subscriber does."""

    async def main() -> PushClient:
        done = asyncio.get_running_loop().create_future()

        async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await work(Line(reader, writer, made))
                done.set_result(None)
            except BaseException as error:
                done.set_exception(error)
            finally:
                writer.close()

        where = address()
        server = await asyncio.start_server(accepted, where, 0)
        made = PushClient((where,), server.sockets[0].getsockname()[1], Secondary(APEX), APEX, lambda: None)
        async with asyncio.timeout(20), server:
            try:
                await made.run()
            finally:
                await done
        return made

    return asyncio.run(main())


async def reset(line: Line) -> None:
    """The subscriber ends the connection by RST (RFC 8490 5.3)."""
    with pytest.raises(ConnectionResetError):
        await line.reader.read()


@pytest.mark.parametrize(
    "wire",
    [
        write(0, [(UNSUBSCRIBE, b"\0\1")]),
        write(0, [(RECONFIRM, b"")]),
        write(0, [(0xF800, b"")]),
        write(9, [(SUBSCRIBE, b"")]),
        write(9, [(PUSH, b"")]),
        write(0, [(PUSH, b"")]),
        next(write_pushes([Change(APEX.wire, ANY, IN, 5, b"")])),
    ],
    ids=["unsubscribe", "reconfirm", "what nobody knows", "subscribe", "push asked", "push of nothing", "any added"],
)
def test_a_host_that_sends_what_no_host_may_is_cut_off(wire: bytes) -> None:
    async def work(line: Line) -> None:
        (await line.granted()).say(wire)
        await reset(line)

    with pytest.raises(BadMessage):
        told(work)


def test_what_a_host_asks_and_nobody_knows_is_answered_and_the_session_goes_on() -> None:
    async def work(line: Line) -> None:
        (await line.granted()).say(write(9, [(0xF800, b"x")]), write(10, [(0xF801, b"x")]))
        for ident in (9, 10):
            answer = read(await line.next())
            assert (answer.id, answer.response, answer.rcode) == (ident, True, DSOTYPENI)

    told(work)


def test_a_host_that_asks_and_does_not_read_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push_client, "MOST_UNSENT", 1000)

    async def work(line: Line) -> None:
        await line.granted()
        line.writer.transport.pause_reading()  # type: ignore[attr-defined]
        with contextlib.suppress(ConnectionError):
            while True:
                line.say(*[write(9, [(0xF800, b"x")])] * 1000)
                await line.writer.drain()

    with pytest.raises(BadMessage, match="does not read"):
        told(work)


def test_the_id_of_a_transfer_is_in_use_until_its_end() -> None:
    """RFC 8490 5.4.1: by no request of the session."""

    async def work(line: Line) -> None:
        (await line.granted()).say(write(9, [(0xF800, b"")]))
        await line.next()
        (query,) = line.transfers
        ident, client = query[0] << 8 | query[1], line.subscriber._client
        assert client._uses(ident)
        packer = Packer(APEX.wire, AXFR)
        for _ in range(2):
            packer.record(None, SOA, 5, (bytes(22), None))
        line.say(packer.finish(ident, QR | AA, (2, 0, 0)), write(9, [(0xF800, b"")]))
        await line.next()
        assert not client._uses(ident)

    told(work)


def test_pushes_of_what_was_not_asked_are_passed_over() -> None:
    """RFC 8765 6.3.1: another name, another type; in the case of letters that was not asked it is the same."""
    soa = bytes(2) + (77).to_bytes(4, "big") + bytes(16)

    async def work(line: Line) -> None:
        await line.granted()
        # The transfer under way is left; what is new is asked for when it has come to its end.
        others = [Change(Name.parse("other.").wire, SOA, IN, 5, soa), Change(APEX.wire, SOA, 3, 5, soa)]
        (wire,) = write_pushes(others)
        line.say(wire, write(9, [(0xF800, b"")]))
        await line.next()
        assert not line.subscriber._again
        (wire,) = write_pushes([Change(APEX.wire.upper(), SOA, IN, 5, soa)])
        line.say(wire, write(9, [(0xF800, b"")]))
        await line.next()
        assert line.subscriber._again

    told(work)


@pytest.mark.parametrize(
    ("seconds", "rcode", "stays"), [(0, 0, 0), (2.5, 0, 2.5), (60, 23, 60), (4294967.295, 0, LONGEST_REFUSAL)]
)
def test_who_is_asked_to_stay_away_ends_the_session_and_does(seconds: float, rcode: int, stays: float) -> None:
    """Whatever the rcode is (RFC 8490 7.2.1); nobody for as long as 49.7 days, on whose word who knows."""

    async def work(line: Line) -> None:
        (await line.granted()).say(write(0, [retry_delay(seconds)], rcode=rcode & 0xF))
        await line.reader.read()

    assert told(work).refused == stays


@pytest.mark.parametrize(("rcode", "stays"), [(1, 300), (SERVFAIL, 60), (4, 300), (9, 60), (11, 300)])
def test_a_refusal_that_names_no_time_has_that_of_the_rfc(rcode: int, stays: float) -> None:
    """RFC 8765 6.2.2, but for our most."""

    async def work(line: Line) -> None:
        line.say(write(read(await line.next()).id, response=True, rcode=rcode))
        await line.reader.read()

    assert told(work).refused == stays


def test_a_subscription_that_a_host_ends_is_ended() -> None:
    """RFC 8490 5.6."""

    async def work(line: Line) -> None:
        wire = await line.next()
        ident = read(wire).id
        line.say(write(ident, response=True), write(ident, [retry_delay(7)], response=True, rcode=9))
        await line.reader.read()

    assert told(work).refused == 7
