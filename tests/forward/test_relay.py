"""Questions put to name servers on real sockets: joined, kept, stale where need be, bounded."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from typing import Any

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
from conftest import Measured
from loopback import address, free_port, open_sockets
from upstreams import Upstream, answering, silent

from mddns.base.names import Name
from mddns.dns.message import RD, read_query
from mddns.files.resolv_conf import Place
from mddns.forward.relay import STALE_AFTER, Relay
from mddns.forward.server_selection import Options
from mddns.forward.upstream_reply import For

APEX = Name.parse("minidisc.")
SOA = "example. 60 IN SOA ns.example. root.example. 1 2 3 4 60"


class Clock:
    """The real one, and as much later as a test says."""

    def __init__(self) -> None:
        self.later = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.later


class Bench:
    """A relay, and questions for it."""

    def __init__(self, relay: Relay, clock: Clock) -> None:
        self.relay = relay
        self.clock = clock

    def use(self, *upstreams: Upstream | Place, **options: Any) -> None:
        places = tuple(each.place if isinstance(each, Upstream) else each for each in upstreams)
        self.relay.use(places, Options()._replace(**options))

    def put(
        self, name: str, rtype: str = "A", *, flags: int = RD, do: bool = False, limit: int = 65535
    ) -> tuple[bytes, float] | Coroutine[None, None, bytes] | None:
        query = dns.message.make_query(name, rtype, use_edns=0)
        wire = query.to_wire()
        question = read_query(wire).question
        asked = For(b"\0\1", flags, wire[12 : 16 + len(question.qname)], limit, True, do)
        return self.relay.answer(question, asked, self.clock())

    async def ask(self, name: str, rtype: str = "A", **how: Any) -> dns.message.Message:
        answer = self.put(name, rtype, **how)
        assert answer is not None
        return dns.message.from_wire(answer[0] if isinstance(answer, tuple) else await answer)


@contextlib.asynccontextmanager
async def bench(**options: Any) -> AsyncIterator[Bench]:
    clock = Clock()

    async def ours(name: bytes, qtype: int) -> bytes | None:
        return None

    relay = Relay(APEX, clock, ours, **options)
    try:
        yield Bench(relay, clock)
    finally:
        relay.close()


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(20):
            await work()

    asyncio.run(main())


def texts(message: dns.message.Message) -> list[str]:
    return [line for rrset in message.answer for line in rrset.to_text().splitlines()]


def codes(message: dns.message.Message) -> list[int]:
    return [int(option.code) for option in message.options]  # type: ignore[attr-defined]


# Asking


def test_a_question_is_answered_and_then_known() -> None:
    async def work() -> None:
        async with Upstream(answering()) as upstream, bench() as at:
            at.use(upstream)
            assert texts(await at.ask("a.example")) == ["a.example. 60 IN A 192.0.2.1"]
            at.clock.later += 20
            assert texts(await at.ask("A.Example")) == ["A.Example. 40 IN A 192.0.2.1"]
            assert upstream.names() == ["a.example"]
            at.clock.later += 41
            await at.ask("a.example")
            assert upstream.names() == ["a.example"] * 2

    run(work)


def test_equal_questions_are_joined() -> None:
    async def work() -> None:
        async with Upstream(answering()) as upstream, bench() as at:
            at.use(upstream)
            found = await asyncio.gather(*(at.ask("a.example") for _ in range(200)))
            assert {texts(each)[0] for each in found} == {"a.example. 60 IN A 192.0.2.1"}
            assert upstream.names() == ["a.example"]

    run(work)


def test_who_leaves_does_not_take_the_answer_from_others() -> None:
    async def work() -> None:
        async with Upstream(answering()) as upstream, bench() as at:
            at.use(upstream)
            first, second = (asyncio.create_task(at.ask("a.example")) for _ in range(2))
            await asyncio.sleep(0)
            first.cancel()
            assert texts(await second)

    run(work)


def test_each_question_has_a_port_and_an_id_of_its_own() -> None:
    async def work() -> None:
        async with Upstream(answering()) as upstream, bench() as at:
            at.use(upstream)
            await asyncio.gather(*(at.ask(f"{n}.example") for n in range(100)))
            assert len({port for _, port in upstream.sources}) == 100
            assert len({query.id for query in upstream.asked}) > 95
            assert upstream.sources != sorted(upstream.sources)

    run(work)


def test_sockets_are_closed_behind_each_answer() -> None:
    async def work() -> None:
        async with Upstream(answering()) as upstream, bench() as at:
            at.use(upstream)
            await at.ask("0.example")
            before = open_sockets()
            await asyncio.gather(*(at.ask(f"{n}.example") for n in range(1, 100)))
            assert open_sockets() <= before

    run(work)


def test_a_truncated_answer_comes_by_tcp() -> None:
    whole = answering(f"60 IN TXT {' '.join('x' * 200 for _ in range(20))}")

    def script(query: dns.message.Message, tcp: bool) -> Iterable[bytes]:
        if tcp:
            return whole(query, tcp)
        response = dns.message.make_response(query)
        response.flags |= dns.flags.TC
        return (response.to_wire(),)

    async def work() -> None:
        async with Upstream(script) as upstream, bench() as at:
            at.use(upstream)
            found = await at.ask("a.example", "TXT")
            assert len(found.answer[0][0].strings) == 20
            assert upstream.over_tcp
            assert (await at.ask("a.example", "TXT", limit=512)).flags & dns.flags.TC

    run(work)


def test_a_tcp_answer_in_pieces_is_put_together() -> None:
    async def work() -> None:
        async with Upstream(answering()) as upstream, bench() as at:

            async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                size = await reader.readexactly(2)
                query = dns.message.from_wire(await reader.readexactly(int.from_bytes(size, "big")))
                (wire,) = answering()(query, True)
                for octet in len(wire).to_bytes(2, "big") + wire:
                    writer.write(bytes((octet,)))
                    await writer.drain()
                writer.close()

            place = Place(address(), free_port())
            server = await asyncio.start_server(serve, *place)
            at.use(place, use_vc=True)
            assert texts(await at.ask("a.example"))
            server.close()
            assert not upstream.asked

    run(work)


# Servers that are silent, away, or liars


def test_the_second_server_answers_for_a_silent_first_one_within_250_ms(measured: Measured) -> None:
    async def work() -> None:
        async with Upstream(silent) as deaf, Upstream(answering()) as good, bench() as at:
            at.use(deaf, good)
            took = []
            for n in range(5):
                begun = time.monotonic()
                assert texts(await at.ask(f"{n}.example"))
                took.append(time.monotonic() - begun)
            measured(f"one silent upstream of two: {', '.join(f'{each * 1000:.0f}' for each in took)} ms")
            assert max(took) < 0.25

    run(work)


def test_the_second_server_answers_at_once_where_nobody_is_at_the_first() -> None:
    async def work() -> None:
        async with Upstream(answering()) as good, bench() as at:
            at.use(Place(address(), free_port()), good)
            assert texts(await asyncio.wait_for(at.ask("a.example"), 0.1))

    run(work)


def test_failover_and_back() -> None:
    async def work() -> None:
        async with Upstream(silent) as first, Upstream(answering("60 IN A 192.0.2.2")) as second, bench() as at:
            at.use(first, second)
            number = itertools.count()

            async def ask() -> str:
                return texts(await at.ask(f"{next(number)}.example"))[0].split()[-1]

            assert await ask() == "192.0.2.2"
            await asyncio.sleep(1.1)  # until the first one counts as silent
            asked = len(first.names())
            assert await ask() == "192.0.2.2"
            assert len(first.names()) == asked
            first.script = answering("60 IN A 192.0.2.1")
            at.clock.later += 5
            await ask()  # of the second, and the first one is tried beside
            await asyncio.sleep(0.05)
            assert await ask() == "192.0.2.1"

    run(work)


def test_forged_answers_change_nothing() -> None:
    def script(query: dns.message.Message, tcp: bool) -> Iterable[bytes]:
        (good,) = answering()(query, tcp)
        (forged,) = answering("60 IN A 203.0.113.66")(query, tcp)
        yield bytes((forged[0] ^ 0x55,)) + forged[1:]
        yield forged[:13] + b"X" + forged[14:]
        yield forged[:2] + b"\1" + forged[3:]
        yield forged[:-5]
        yield b"\xff" * 600
        yield good

    async def work() -> None:
        async with Upstream(script) as upstream, bench() as at:
            at.use(upstream)
            for n in range(20):
                assert texts(await at.ask(f"{n}.example")) == [f"{n}.example. 60 IN A 192.0.2.1"]

    run(work)


def test_an_answer_from_another_address_or_port_is_not_heard() -> None:
    forger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    async def work() -> None:
        async with Upstream(silent) as upstream, bench() as at:
            at.use(upstream, timeout=0.3, attempts=1)
            waiting = asyncio.create_task(at.ask("a.example"))
            while not upstream.sources:
                await asyncio.sleep(0.01)
            query = next(each for each in upstream.asked if str(each.question[0].name).lower() == "a.example.")
            (forged,) = answering()(query, False)
            for source in (upstream.place.address, address()):
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as forger:
                    forger.bind((source, 0))
                    forger.sendto(forged, upstream.sources[0])
            assert (await waiting).rcode() == dns.rcode.SERVFAIL

    with forger:
        run(work)


def test_nobody_answers() -> None:
    async def work() -> None:
        async with Upstream(silent) as upstream, bench() as at:
            at.use(upstream, timeout=0.2, attempts=1)
            found = await at.ask("a.example")
            assert (found.rcode(), codes(found)) == (dns.rcode.SERVFAIL, [22])

    run(work)


def test_there_is_nobody_to_ask() -> None:
    async def work() -> None:
        async with bench() as at:
            found = await at.ask("a.example")
            assert (found.rcode(), codes(found)) == (dns.rcode.SERVFAIL, [23])

    run(work)


def test_a_refusal_of_all_servers_is_passed_on() -> None:
    async def work() -> None:
        async with Upstream(answering("", "REFUSED")) as upstream, bench() as at:
            at.use(upstream)
            assert (await at.ask("a.example")).rcode() == dns.rcode.REFUSED

    run(work)


def test_why_an_upstream_failed_is_passed_on() -> None:
    """A validator's reason, say (RFC 8914); of several servers, that of the first whose failure it is."""

    def bogus(query: dns.message.Message, tcp: bool) -> list[bytes]:
        reply = dns.message.make_response(query)
        reply.set_rcode(dns.rcode.SERVFAIL)
        reply.use_edns(0, options=[dns.edns.EDEOption(6, "signature expired")])
        return [reply.to_wire()]

    async def work() -> None:
        async with Upstream(bogus) as first, Upstream(answering("", "REFUSED")) as second, bench() as at:
            at.use(first, second)
            answer = await at.ask("a.example")
            assert answer.rcode() == dns.rcode.SERVFAIL
            assert [(each.code, each.text) for each in answer.extended_errors()] == [(6, "signature expired")]

    run(work)


def test_a_failure_is_not_asked_for_again_within_a_second() -> None:
    async def work() -> None:
        async with Upstream(answering("", "SERVFAIL")) as upstream, bench() as at:
            at.use(upstream)
            for _ in range(5):
                assert (await at.ask("a.example")).rcode() == dns.rcode.SERVFAIL
            assert len(upstream.names()) == 1
            at.clock.later += 1.1
            await at.ask("a.example")
            assert len(upstream.names()) == 2

    run(work)


def test_a_denial_is_kept() -> None:
    async def work() -> None:
        async with Upstream(answering("", "NXDOMAIN", SOA)) as upstream, bench() as at:
            at.use(upstream)
            for _ in range(3):
                found = await at.ask("a.example")
                assert found.rcode() == dns.rcode.NXDOMAIN
                assert found.authority
            assert len(upstream.names()) == 1

    run(work)


# Stale answers


def test_a_stale_answer_is_given_out_where_nobody_answers_and_at_once_from_then_on() -> None:
    async def work() -> None:
        async with Upstream(answering()) as upstream, bench() as at:
            at.use(upstream)
            await at.ask("a.example")
            upstream.script = silent
            at.clock.later += 100
            begun = time.monotonic()
            found = await at.ask("a.example")
            assert STALE_AFTER <= time.monotonic() - begun < STALE_AFTER + 0.5
            assert texts(found) == ["a.example. 30 IN A 192.0.2.1"]
            assert codes(found) == [3]
            assert isinstance(at.put("a.example"), tuple)

    run(work)


def test_a_stale_answer_is_given_out_at_once_where_asking_fails() -> None:
    async def work() -> None:
        async with Upstream(answering()) as upstream, bench() as at:
            at.use(upstream)
            await at.ask("a.example")
            upstream.script = answering("", "SERVFAIL")
            at.clock.later += 100
            assert texts(await asyncio.wait_for(at.ask("a.example"), 1)) == ["a.example. 30 IN A 192.0.2.1"]

    run(work)


def test_what_is_in_use_is_asked_for_before_its_end() -> None:
    async def work() -> None:
        async with Upstream(answering()) as upstream, bench() as at:
            at.use(upstream)
            await at.ask("a.example")
            at.clock.later += 57
            assert isinstance(at.put("a.example"), tuple)
            while len(upstream.names()) < 2:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.02)
            assert texts(await at.ask("a.example")) == ["a.example. 60 IN A 192.0.2.1"]
            assert len(upstream.names()) == 2

    run(work)


def test_other_upstreams_mean_other_answers() -> None:
    async def work() -> None:
        async with Upstream(answering()) as one, Upstream(answering("60 IN A 192.0.2.2")) as other, bench() as at:
            at.use(one)
            await at.ask("a.example")
            epoch = at.relay.epoch
            at.use(other)
            assert at.relay.epoch != epoch
            assert texts(await at.ask("a.example")) == ["a.example. 60 IN A 192.0.2.2"]

    run(work)


def test_what_an_old_upstream_says_late_is_not_kept() -> None:
    async def work() -> None:
        async with Upstream(silent) as one, Upstream(answering("60 IN A 192.0.2.2")) as other, bench() as at:
            at.use(one)
            waiting = asyncio.create_task(at.ask("a.example"))
            while not one.sources:
                await asyncio.sleep(0.01)
            at.use(other)
            query = next(each for each in one.asked if str(each.question[0].name).lower() == "a.example.")
            (late,) = answering()(query, False)
            one._udp.sendto(late, one.sources[0])
            assert texts(await waiting) == ["a.example. 60 IN A 192.0.2.1"]
            assert texts(await at.ask("a.example")) == ["a.example. 60 IN A 192.0.2.2"]

    run(work)


# Guards


@pytest.mark.parametrize(("block", "rcode"), [(True, dns.rcode.REFUSED), (False, dns.rcode.NOERROR)])
def test_private_addresses_are_refused_where_it_is_asked_for(block: bool, rcode: dns.rcode.Rcode) -> None:
    async def work() -> None:
        async with Upstream(answering("60 IN A 192.168.1.1")) as upstream, bench(block_rebinding=block) as at:
            at.use(upstream)
            assert (await at.ask("evil.example")).rcode() == rcode

    run(work)


def test_an_upstream_that_asks_us_in_turn_is_found_out_and_not_asked(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        async with bench() as at:

            def back_to_us(query: dns.message.Message, tcp: bool) -> Iterable[bytes]:
                answer = at.put(str(query.question[0].name), "TXT" if query.question[0].rdtype == 16 else "A")
                if isinstance(answer, Coroutine):
                    tasks.append(asyncio.create_task(_swallow(answer)))
                return ()

            tasks: list[asyncio.Task[None]] = []
            async with Upstream(back_to_us) as circle, Upstream(answering()) as good:
                at.use(circle, good)
                while "sends our queries back" not in caplog.text:
                    await asyncio.sleep(0.01)
                before = len(circle.asked)
                assert texts(await asyncio.wait_for(at.ask("a.example"), 0.1))
                assert len(circle.asked) == before
            for task in tasks:
                task.cancel()

    with caplog.at_level(logging.WARNING, "mddns"):
        run(work)
    assert caplog.text.count("sends our queries back") == 1
    assert "--upstream" in caplog.text


async def _swallow(answer: Coroutine[None, None, bytes]) -> None:
    await answer


def test_more_questions_than_there_are_sockets_give_up_the_oldest() -> None:
    async def work() -> None:
        async with Upstream(silent) as upstream, bench(sockets=20) as at:
            at.use(upstream)
            waiting = [asyncio.create_task(at.ask(f"{n}.example")) for n in range(50)]
            done, pending = await asyncio.wait(waiting, timeout=0.5)
            assert len(pending) <= 20
            assert all(each.result().rcode() == dns.rcode.SERVFAIL for each in done)
            assert set(waiting[:25]) <= done
            upstream.script = answering()
            assert texts(await at.ask("new.example"))
            for task in pending:
                task.cancel()

    run(work)


def test_more_waiting_for_one_answer_than_there_may_be_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mddns.forward.relay.MOST_PER_FLIGHT", 3)

    async def work() -> None:
        async with Upstream(silent) as upstream, bench() as at:
            at.use(upstream, timeout=0.2, attempts=1)
            waiting = [asyncio.create_task(at.ask("a.example")) for _ in range(3)]
            await asyncio.sleep(0.01)
            assert at.put("a.example") is None
            await asyncio.gather(*waiting)

    run(work)


def bomb() -> bytes:
    """65 kB whose every record has a name that takes 16 hops over long names."""
    label = b"\x01x"
    name = label * 120 + b"\0"
    body = bytearray()
    count = 0
    while len(body) < 64_000:
        body += b"\xc0" + bytes((12 + 2 * (count % 100),)) + struct.pack("!2HIH", 5, 1, 60, 2) + b"\xc0\x0c"
        count += 1
    return name + struct.pack("!2H", 1, 1), bytes(body), count  # type: ignore[return-value]


def test_a_bomb_does_not_delay_others_past_250_ms(measured: Measured) -> None:
    _, body, count = bomb()  # type: ignore[misc]

    def script(query: dns.message.Message, tcp: bool) -> Iterable[bytes]:
        wire = query.to_wire()
        if len(wire) < 200:
            return answering()(query, tcp)
        end = wire.index(b"\0", 12) + 5
        flags = b"\x81\x80" if tcp else b"\x83\x80"
        head = wire[:2] + flags + struct.pack("!4H", 1, count if tcp else 0, 0, 0)
        return (head + wire[12:end] + (body if tcp else b""),)

    async def work() -> None:
        async with Upstream(script) as upstream, bench() as at:
            at.use(upstream)
            evil = asyncio.create_task(at.ask("x." * 120))
            worst = 0.0
            number = 0
            while not evil.done() or number < 20:
                begun = time.monotonic()
                assert texts(await at.ask(f"{number}.example"))
                worst = max(worst, time.monotonic() - begun)
                number += 1
            measured(f"a bomb of 65 kB: others waited {worst * 1000:.0f} ms at most")
            assert upstream.over_tcp >= 1
            assert worst < 0.25

    run(work)


@pytest.mark.parametrize("name", ["localhost", "foo.localhost", "x.invalid", "x.onion", "_dns.resolver.arpa"])
def test_nobody_is_asked_for_a_name_of_special_use(name: str) -> None:
    async def main() -> None:
        async with bench() as made, Upstream(answering("60 IN A 192.0.2.1")) as upstream:
            made.use(upstream)
            told = await made.ask(name)
            assert "192.0.2.1" not in told.to_text()
            assert upstream.names() == []

    asyncio.run(main())


def test_a_server_that_loses_the_case_and_has_no_tcp_is_understood() -> None:
    """Some home routers answer in lower case, and refuse TCP."""

    def lower(query: dns.message.Message, tcp: bool) -> Iterable[bytes]:
        for wire in answering()(query, tcp):
            end = 12 + len(query.question[0].name.to_wire())
            yield wire[:12] + wire[12:end].lower() + wire[end:]

    async def main() -> None:
        async with bench() as made, Upstream(lower, with_tcp=False) as upstream:
            made.use(upstream)
            for name in ("a-rather-long-name.example.com", "another-rather-long-name.example.com"):
                told = await made.ask(name)
                assert [str(rdata) for rrset in told.answer for rdata in rrset] == ["192.0.2.1"]
            # The first was asked twice, the second once.
            assert len(upstream.names()) == 3

    asyncio.run(main())
