"""HTTP on a real socket: what is answered, and what a client can hold on to."""

from __future__ import annotations

import asyncio
import asyncio.selector_events
import contextlib
import errno
import logging
import struct
from collections.abc import AsyncIterator, Awaitable, Callable

import h2.config
import h2.connection
import h2.events
import pytest
from loopback import address, free_port

from mddns.http import connection
from mddns.http.messages import Head, Response
from mddns.server.binding import bind_tcp
from mddns.server.listeners import TcpListener
from mddns.system import connection_limits

QUERY = bytes(range(1, 13)) + b"what"

Place = tuple[str, int]
Work = Callable[[Place], Awaitable[None]]


class Echo:
    """Answers with what was asked, refuses what begins with /refused, and keeps the statuses."""

    def __init__(self) -> None:
        self.asked: list[tuple[Head, bytes]] = []
        self.statuses: list[int] = []
        self.looked = 0
        self.gate = asyncio.Event()

    def look(self, head: Head) -> Response | None:
        self.looked += 1
        return Response(403, b"no\n", "text/plain") if head.target.startswith("/refused") else None

    def answer(self, head: Head, body: bytes) -> Response | Awaitable[Response]:
        self.asked.append((head, body))
        if head.target == "/fault":
            raise RuntimeError("a fault")
        if head.target == "/large":
            return Response(200, b"x" * (8 << 20), "text/plain")
        response = Response(200, f"{head.method} {head.target} ".encode() + body, "text/plain", (("X-A", "b"),))
        return self._later(response) if head.target.startswith("/later") else response

    async def _later(self, response: Response) -> Response:
        await self.gate.wait()
        return response

    def responded(self, status: int) -> None:
        self.statuses.append(status)


@contextlib.asynccontextmanager
async def listening(serving: Echo) -> AsyncIterator[Place]:
    place = address(), free_port()
    sock = bind_tcp(*place)
    loop = asyncio.get_running_loop()
    tcp = TcpListener(sock, lambda wire, source, tcp: wire + wire, loop, lambda: True, serving)
    try:
        yield place
    finally:
        tcp.close()
        sock.close()
        await asyncio.sleep(0)  # connections end with the loop's next turn
        await asyncio.sleep(0)


def run(work: Callable[[Place, Echo], Awaitable[None]]) -> Echo:
    async def main() -> Echo:
        serving = Echo()
        async with listening(serving) as place, asyncio.timeout(20):
            await work(place, serving)
        return serving

    return asyncio.run(main())


@contextlib.asynccontextmanager
async def to(
    place: Place, source: str | None = None
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(*place, local_addr=(source, 0) if source else None)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def response(reader: asyncio.StreamReader, *, body: bool = True) -> tuple[int, dict[str, str], bytes]:
    """The next response: status, fields, body."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
    octets = await reader.readexactly(int(fields.get("content-length", "0"))) if body else b""
    return int(head[0].split()[1]), fields, octets


async def ended(reader: asyncio.StreamReader) -> bool:
    try:
        return await reader.read(1) == b""
    except ConnectionError:
        return True


def exchange(sent: bytes, *, then_end: bool = False) -> tuple[bytes, Echo]:
    """All that comes back for some octets until the connection ends."""
    received = b""

    async def work(place: Place, serving: Echo) -> None:
        nonlocal received
        async with to(place) as (reader, writer):
            writer.write(sent)
            if then_end:
                writer.write_eof()
            with contextlib.suppress(ConnectionError):
                received = await reader.read()

    serving = run(work)
    return received, serving


def status(received: bytes) -> int:
    assert received.startswith(b"HTTP/1.1 "), received[:80]
    return int(received.split()[1])


GET = b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n"
CLOSING = b"GET %b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"

# What is answered


def test_a_request_gets_its_response_with_date_and_type() -> None:
    async def work(place: Place, serving: Echo) -> None:
        async with to(place) as (reader, writer):
            writer.write(GET % b"/x?y=z")
            found, fields, body = await response(reader)
            assert (found, body) == (200, b"GET /x?y=z ")
            assert fields["content-type"] == "text/plain"
            assert fields["x-a"] == "b"
            assert fields["x-content-type-options"] == "nosniff"
            assert fields["date"].endswith(" GMT")

    run(work)


def test_who_asked_is_told_with_the_request() -> None:
    async def work(place: Place, serving: Echo) -> None:
        async with to(place, "127.9.8.7") as (reader, writer):
            writer.write(GET % b"/x")
            await response(reader)
            head, _ = serving.asked[0]
            assert (head.address, head.port) == writer.get_extra_info("sockname")

    run(work)


def test_a_connection_serves_many_requests() -> None:
    async def work(place: Place, serving: Echo) -> None:
        async with to(place) as (reader, writer):
            for n in range(50):
                writer.write(GET % f"/{n}".encode())
                assert (await response(reader))[2] == f"GET /{n} ".encode()

    run(work)


def test_requests_that_come_at_once_are_answered_in_order() -> None:
    async def work(place: Place, serving: Echo) -> None:
        async with to(place) as (reader, writer):
            writer.write(b"".join(GET % f"/{n}".encode() for n in range(300)))
            for n in range(300):
                assert (await response(reader))[2] == f"GET /{n} ".encode()

    run(work)


def test_a_request_may_come_octet_by_octet() -> None:
    async def work(place: Place, serving: Echo) -> None:
        async with to(place) as (reader, writer):
            for octet in b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc":
                writer.write(bytes((octet,)))
                await writer.drain()
                await asyncio.sleep(0)
            assert (await response(reader))[2] == b"POST /x abc"

    run(work)


def test_a_chunked_body_is_put_together() -> None:
    sent = (
        b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        b"2\r\nab\r\n1;ext=1\r\nc\r\n0\r\nTrailer: x\r\n\r\n"
    )
    received, _ = exchange(sent)
    assert received.endswith(b"\r\n\r\nPOST /x abc")


def test_head_gets_the_length_of_what_get_gives_and_no_body() -> None:
    async def work(place: Place, serving: Echo) -> None:
        async with to(place) as (reader, writer):
            writer.write(b"HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n" + GET % b"/y")
            found, fields, _ = await response(reader, body=False)
            assert (found, fields["content-length"]) == (200, str(len("HEAD /x ")))
            assert (await response(reader))[2] == b"GET /y "

    run(work)


def test_who_expects_100_continue_gets_it_before_the_body_is_sent() -> None:
    async def work(place: Place, serving: Echo) -> None:
        async with to(place) as (reader, writer):
            writer.write(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
            writer.write(b"abc")
            assert (await response(reader))[2] == b"POST /x abc"

    run(work)


def test_who_is_refused_by_its_head_need_not_send_the_body() -> None:
    sent = b"POST /refused HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
    received, serving = exchange(sent)
    assert status(received) == 403
    assert b"100 " not in received
    assert serving.asked == []


def test_http_1_0_is_answered_and_closed() -> None:
    received, _ = exchange(b"GET /x HTTP/1.0\r\n\r\n")
    assert status(received) == 200
    assert received.endswith(b"GET /x ")


def test_who_has_sent_its_end_is_still_answered() -> None:
    received, _ = exchange(GET % b"/x", then_end=True)
    assert received.endswith(b"GET /x ")


def test_an_answer_may_wait_for_the_network_also_when_the_client_has_sent_its_end() -> None:
    async def work(place: Place, serving: Echo) -> None:
        async with to(place) as (reader, writer):
            writer.write(GET % b"/later")
            writer.write_eof()
            while not serving.asked:
                await asyncio.sleep(0.001)
            serving.gate.set()
            assert (await reader.read()).endswith(b"GET /later ")

    run(work)


def test_an_upgrade_is_not_taken_up_and_the_request_is_answered() -> None:
    async def work(place: Place, serving: Echo) -> None:
        async with to(place) as (reader, writer):
            for _ in range(2):
                writer.write(
                    b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n"
                )
                assert (await response(reader))[2] == b"GET /x "

    run(work)


def test_dns_on_the_same_port_stays_dns() -> None:
    async def work(place: Place, serving: Echo) -> None:
        async with to(place) as (reader, writer):
            writer.write(len(QUERY).to_bytes(2, "big") + QUERY)
            assert await reader.readexactly(2 + 2 * len(QUERY)) == (2 * len(QUERY)).to_bytes(2, "big") + 2 * QUERY
            writer.write(GET % b"/x")  # what began as DNS does not change
            assert await ended(reader)

    run(work)


@pytest.mark.parametrize("octet", [0x40, 0x7F, 0x80, 0xFF])
def test_a_first_octet_of_0x40_and_above_is_http(octet: int) -> None:
    received, _ = exchange(bytes((octet,)) + b"\r\n\r\n")
    assert status(received) == 400


def test_http_2_is_told_to_use_http_1_1() -> None:
    client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    client.initiate_connection()
    received, _ = exchange(client.data_to_send())
    events = client.receive_data(received)
    ends = [event for event in events if isinstance(event, h2.events.ConnectionTerminated)]
    assert any(isinstance(event, h2.events.RemoteSettingsChanged) for event in events)
    assert [(event.error_code, event.last_stream_id) for event in ends] == [(0xD, 0)]


def test_http_2s_preface_may_come_octet_by_octet() -> None:
    async def work(place: Place, serving: Echo) -> None:
        async with to(place) as (reader, writer):
            for octet in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n":
                writer.write(bytes((octet,)))
                await writer.drain()
                await asyncio.sleep(0)
            assert len(await reader.read()) == 26

    run(work)


# What is not


@pytest.mark.parametrize(
    "sent",
    [
        b"GET\r\n\r\n",
        b"GET /x\r\n\r\n",
        b"GET /x HTTP/1.1\r\n\r\n",  # no Host
        b"GET /x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /x HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /x HTTP/1.1\r\nHost: a\r\nBad Name: x\r\n\r\n",
        b"GET /x HTTP/1.1\r\nHost: a\r\n folded\0: x\r\n\r\n",
        b"\x80\x81\x82\r\n\r\n",
        b"\x16\x03\x01\x02\x00"[::-1] + b"\x80" * 40 + b"\r\n\r\n",
    ],
)
def test_what_is_no_http_gets_400_and_the_connection_ends(sent: bytes, caplog: pytest.LogCaptureFixture) -> None:
    if sent[0] < 0x40:
        sent = b"\x80" + sent
    received, serving = exchange(sent)
    assert status(received) == 400
    assert b"connection: close" in received.lower()
    assert serving.asked == []
    assert caplog.records == []


def test_random_octets_are_answered_or_not_and_nothing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    import random

    draw = random.Random(28004)
    good = b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"

    async def work(place: Place, serving: Echo) -> None:
        for _ in range(300):
            octets = bytearray(good * 2)
            for _ in range(draw.randrange(1, 6)):
                octets[draw.randrange(len(octets))] = draw.randrange(256)
            octets[0] |= 0x40
            async with to(place) as (reader, writer):
                writer.write(bytes(octets))
                writer.write_eof()
                with contextlib.suppress(ConnectionError):
                    await reader.read()

    run(work)
    assert caplog.records == []


def test_another_transfer_coding_is_not_implemented() -> None:
    received, _ = exchange(b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\nx")
    assert status(received) == 501


def test_a_head_that_is_too_large_is_refused() -> None:
    received, _ = exchange(b"GET /x HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 5000)
    assert status(received) == 431


def test_a_body_that_is_announced_too_large_is_refused_before_it_comes() -> None:
    received, serving = exchange(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 65537\r\n\r\n")
    assert status(received) == 413
    assert serving.asked == []


def test_a_chunked_body_that_grows_too_large_is_refused() -> None:
    head = b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    received, serving = exchange(head + (b"4000\r\n" + bytes(0x4000) + b"\r\n") * 5)
    assert status(received) == 413
    assert serving.asked == []


def test_a_body_of_the_largest_size_is_taken() -> None:
    received, serving = exchange(
        b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 65536\r\nConnection: close\r\n\r\n" + bytes(65536)
    )
    assert status(received) == 200
    assert len(serving.asked[0][1]) == 65536


def test_a_handlers_fault_is_logged_and_told_as_500(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        received, _ = exchange(CLOSING % b"/fault")
    assert status(received) == 500
    assert [record.exc_info is not None for record in caplog.records] == [True]
    assert b"a fault" not in received.partition(b"\r\n\r\n")[2]


def test_what_was_answered_is_counted_by_status() -> None:
    async def work(place: Place, serving: Echo) -> None:
        async with to(place) as (reader, writer):
            writer.write(GET % b"/x" + GET % b"/refused")
            await reader.read()

    assert run(work).statuses == [200, 403]


# What a client can hold on to


def test_who_sends_no_whole_request_in_time_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "WHOLE_REQUEST", 0.05)

    async def work(place: Place, serving: Echo) -> None:
        for begun in (b"G", b"GET /x HTTP/1.1\r\nHost", b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nab"):
            async with to(place) as (reader, writer):
                writer.write(begun)
                assert await ended(reader)

    run(work)


def test_dribbling_does_not_give_more_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "WHOLE_REQUEST", 0.2)

    async def work(place: Place, serving: Echo) -> None:
        async with to(place) as (reader, writer):
            with contextlib.suppress(ConnectionError):
                for _ in range(10_000):
                    writer.write(b"A")
                    await writer.drain()
                    await asyncio.sleep(0.005)
                    if reader.at_eof():
                        break
            assert await ended(reader)

    run(work)


def test_who_asks_nothing_more_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "IDLE", 0.05)

    async def work(place: Place, serving: Echo) -> None:
        async with to(place) as (reader, writer):
            writer.write(GET % b"/x")
            await response(reader)
            assert await ended(reader)

    run(work)


def test_a_handler_that_takes_too_long_is_told_as_503(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "ANSWER_WITHIN", 0.05)
    received, _ = exchange(CLOSING % b"/later")
    assert status(received) == 503


def test_who_does_not_read_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "SEND_WITHIN", 0.1)

    async def work(place: Place, serving: Echo) -> None:
        async with to(place) as (reader, writer):
            writer.write((GET % b"/large") * 20)
            await asyncio.sleep(0.5)
            with contextlib.suppress(ConnectionError):
                while await reader.read(1 << 20):
                    pass
        assert len(serving.asked) == 1

    run(work)


def test_the_next_request_waits_until_the_last_response_was_read() -> None:
    async def work(place: Place, serving: Echo) -> None:
        async with to(place) as (reader, writer):
            writer.write((GET % b"/large") * 3)
            for _ in range(3):
                assert len((await response(reader))[2]) == 8 << 20

    run(work)


def test_a_source_has_no_more_connections_than_over_dns() -> None:
    async def work(place: Place, serving: Echo) -> None:
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(connection_limits.MOST_PER_SOURCE):
                reader, writer = await stack.enter_async_context(to(place, "127.9.8.7"))
                writer.write(GET % b"/x")
                await response(reader)
            reader, writer = await stack.enter_async_context(to(place, "127.9.8.7"))
            assert await ended(reader)
            reader, writer = await stack.enter_async_context(to(place, "127.9.8.8"))
            writer.write(GET % b"/x")
            await response(reader)

    run(work)


def test_an_idle_connection_gives_way_where_all_places_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_limits, "MOST_CONNECTIONS", 1)

    async def work(place: Place, serving: Echo) -> None:
        async with to(place) as (idle, writer):
            writer.write(GET % b"/x")
            await response(idle)
            async with to(place) as (reader, writer):
                writer.write(GET % b"/x")
                await response(reader)
                assert await ended(idle)

    run(work)


def test_who_goes_away_gives_its_place_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_limits, "MOST_CONNECTIONS", 2)

    async def work(place: Place, serving: Echo) -> None:
        for n in range(20):
            _, writer = await asyncio.open_connection(*place)
            writer.write((GET % b"/later", b"GET /", GET % b"/x", b"\x80\r\n\r\n")[n % 4])
            await asyncio.sleep(0.01)
            sock = writer.get_extra_info("socket")
            sock.setsockopt(1, 13, struct.pack("ii", 1, 0))  # SO_LINGER: a reset
            writer.close()
            await asyncio.sleep(0.01)
        async with to(place) as (reader, writer):
            writer.write(GET % b"/x")
            assert (await response(reader))[0] == 200

    run(work)


def test_a_reset_that_the_loop_has_not_noticed_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def reset(_: object) -> None:
        raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")

    told: list[object] = []

    async def work(place: Place, serving: Echo) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        async with to(place) as (reader, writer):
            writer.write(b"GET /x HTTP/1.0\r\nHost: localhost\r\n\r\n")
            monkeypatch.setattr(asyncio.selector_events._SelectorSocketTransport, "write_eof", reset)  # type: ignore[attr-defined]
            with contextlib.suppress(ConnectionError):
                await reader.read()

    run(work)
    assert told == []
