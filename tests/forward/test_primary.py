"""The forwarder as primary server: its SOA, AXFR and IXFR are of the merged zone, and secondaries hear of changes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable

import dns.asyncquery
import dns.flags
import dns.message
import dns.opcode
import dns.query
import dns.rcode
import dns.rdatatype
import dns.rrset
import dns.xfr
import dns.zone
import pytest
from loopback import fleet, hostile, network_of
from played import ALPHA, LOOKER_ON, Host

from mddns.base.errors import NetworkError
from mddns.base.offer import make
from mddns.files.resolv_conf import Place
from tests.forward.test_forwarder import ask, forwarding, node, run, texts
from tests.forward.test_notify_sockets import Secondary

Records = frozenset[str]


def _zone(place: Place) -> Records:
    """What a transfer says, SOA and all, by dnspython's reading of it: a secondary's."""
    zone = dns.zone.Zone("minidisc.", relativize=False)
    dns.query.inbound_xfr(place.address, zone, port=place.port, timeout=5, lifetime=10)
    found = (
        (name, each.ttl, each.rdtype, rdata) for name, kept in zone.nodes.items() for each in kept for rdata in each
    )
    return frozenset(f"{name} {ttl} {rtype.name} {rdata}" for name, ttl, rtype, rdata in found)


async def transferred(place: Place) -> Records:
    return await asyncio.to_thread(_zone, place)


async def ixfr(place: Place, serial: int, *, tcp: bool = True) -> list[str]:
    """The first message of an incremental transfer: records in their order, of the SOA its serial."""
    query = dns.message.make_query("minidisc.", "IXFR", use_edns=0)
    soa = f"ns.minidisc. hostmaster.minidisc. {serial} 0 0 0 0"
    query.authority.append(dns.rrset.from_text("minidisc.", 0, "IN", "SOA", soa))
    if tcp:
        reader, writer = await asyncio.open_connection(*place)
        wire = query.to_wire()
        writer.write(len(wire).to_bytes(2, "big") + wire)
        wire = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
        writer.close()
        found = dns.message.from_wire(wire, xfr=True)
    else:
        found = await dns.asyncquery.udp(query, place.address, timeout=5, port=place.port, one_rr_per_rrset=True)
    return [
        str(rdata.serial) if rrset.rdtype == dns.rdatatype.SOA else f"{rrset.name} {rrset.rdtype.name} {rdata}"
        for rrset in found.answer
        for rdata in rrset
    ]


def serial_of(records: Iterable[str]) -> int:
    return next(int(line.split()[5]) for line in records if line.split()[2] == "SOA")


async def soa(place: Place) -> int:
    return int(texts(await ask(place, "minidisc", "SOA"))[0].split()[6])


def test_a_transfer_is_of_the_whole_network_under_the_serial_that_the_soa_says() -> None:
    async def work() -> None:
        everybody = fleet(2)
        async with (
            node(network_of(everybody[0], everybody), ("web", 80)),
            node(network_of(everybody[1], everybody), ("web", 81), ("db", 82)),
            forwarding(network=network_of(None, everybody)) as (_, place),
        ):
            found = await transferred(place)
            assert serial_of(found) == await soa(place)
            assert {line for line in found if line.startswith("_list.")} == {
                "_list.minidisc. 5 PTR host1-80.web.minidisc.",
                "_list.minidisc. 5 PTR host2-81.web.minidisc.",
                "_list.minidisc. 5 PTR host2-82.db.minidisc.",
            }
            assert f"ns.minidisc. 5 A {place.address}" in found
            assert "minidisc. 5 NS ns.minidisc." in found

    run(work)


def test_the_serial_moves_when_a_record_does_and_not_with_the_time() -> None:
    async def work() -> None:
        everybody = fleet(1)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("mddns.host.domain.AHEAD", 0.1)
            async with (
                node(network_of(everybody[0], everybody), ("web", 80)) as alpha,
                forwarding(network=network_of(None, everybody)) as (_, place),
            ):
                before = serial_of(await transferred(place))
                await asyncio.sleep(1.5)  # asked anew, with the same outcome
                assert await soa(place) == before
                alpha.advertise(make(81, "web", {}))
                await alpha.settled()
                for _ in range(100):
                    if await soa(place) != before:
                        break
                    await asyncio.sleep(0.05)
                assert 0 < (await soa(place) - before) % 2**32 < 2**31
                assert await ixfr(place, await soa(place)) == [str(await soa(place))]

    run(work)


def test_an_incremental_transfer_tells_what_is_new_and_where_too_much_is_the_zone() -> None:
    async def work() -> None:
        everybody = fleet(1)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("mddns.host.domain.AHEAD", 0.1)
            async with (
                node(
                    network_of(everybody[0], everybody), *((f"n{number}", 80 + number) for number in range(40))
                ) as alpha,
                forwarding(network=network_of(None, everybody)) as (_, place),
            ):
                before = serial_of(await transferred(place))
                alpha.advertise(make(81, "web", {}))
                await alpha.settled()
                while await soa(place) == before:
                    await asyncio.sleep(0.05)
                after = await soa(place)
                for tcp in (True, False):
                    told = await ixfr(place, before, tcp=tcp)
                    assert told[:3] == [str(after), str(before), str(after)]
                    assert "web.minidisc. SRV 10 10 81 host1-81.web.minidisc." in told
                    assert told[-1] == str(after)
                    assert len(told) < 20
                assert len(await ixfr(place, before - 1)) > 100
                assert await ixfr(place, before - 1, tcp=False) == [str(after)]
                assert await ixfr(place, after + 1) == [str(after)]

    run(work)


def test_a_large_zone_comes_in_many_messages() -> None:
    async def work() -> None:
        everybody = fleet(1)
        offers = [(f"service-{number}", 1000 + number) for number in range(500)]
        async with (
            node(network_of(everybody[0], everybody), *offers),
            forwarding(network=network_of(None, everybody)) as (_, place),
        ):
            assert sum(" SRV " in line and line.startswith("host1-") for line in await transferred(place)) == 1000

    run(work)


def test_a_transfer_that_waits_for_the_network_keeps_its_place_on_the_connection() -> None:

    async def work() -> None:
        everybody = fleet(2)
        with hostile(everybody[1], lambda wire, reply: None):
            async with (
                node(network_of(everybody[0], everybody[:1]), ("web", 80)),
                forwarding(network=network_of(None, everybody)) as (_, place),
            ):
                reader, writer = await asyncio.open_connection(*place)
                queries = [dns.message.make_query("minidisc", "AXFR"), dns.message.make_query("minidisc", "NS")]
                for query in queries:
                    wire = query.to_wire()
                    writer.write(len(wire).to_bytes(2, "big") + wire)
                found = []
                for _ in queries:
                    wire = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
                    found.append(dns.message.from_wire(wire, xfr=True))
                writer.close()
                assert [each.id for each in found] == [each.id for each in queries]
                assert len(found[0].answer) > 10

    run(work)


def test_no_zone_is_given_out_before_the_network_was_seen() -> None:
    class Lost:
        async def aread(self, timeout: float) -> None:
            raise NetworkError("nobody there")

    async def work() -> None:
        async with forwarding(network=Lost()) as (_, place):  # type: ignore[arg-type]
            query = dns.message.make_query("minidisc", "AXFR")
            answer = await dns.asyncquery.tcp(query, place.address, timeout=5, port=place.port)
            assert answer.rcode() == dns.rcode.SERVFAIL
            assert (await ask(place, "minidisc", "SOA")).rcode() == dns.rcode.NOERROR

    run(work)


def test_what_a_silent_registry_said_stays_in_the_zone() -> None:
    async def work() -> None:
        (peer,) = everybody = fleet(1)
        registry = Host(ALPHA)
        registry.advertise("web", 80)
        silent = threading.Event()
        asked = []

        def answer(wire: bytes, reply: Callable[[bytes], None]) -> None:
            asked.append(wire)
            octets = registry.octets(wire, source=LOOKER_ON)
            if not silent.is_set() and isinstance(octets, bytes):
                reply(octets)

        with pytest.MonkeyPatch.context() as patch, hostile(peer, answer):
            patch.setattr("mddns.host.domain.AHEAD", 0.1)
            async with forwarding(network=network_of(None, everybody), timeout=0.2) as (_, place):
                before = await transferred(place)
                assert any(" SRV " in line for line in before)
                silent.set()
                asked.clear()
                while len(asked) < 4:
                    await asyncio.sleep(0.05)
                assert await transferred(place) == before

    run(work)


def test_nobody_is_asked_for_the_zones_state_when_the_network_was_seen_whole() -> None:
    """Whoever watches has its own questions, which are few; ours are answered without a word to anybody."""

    async def work() -> None:
        (peer,) = everybody = fleet(1)
        heard = []
        with hostile(peer, lambda wire, reply: (heard.append(wire), reply(wire[:2] + b"\x84\0" + wire[4:]))[0]):
            async with forwarding(network=network_of(None, everybody)) as (_, place):
                await transferred(place)
                while not heard:
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0.2)
                before = len(heard)
                for number in range(50):
                    await soa(place)
                    await ask(place, f"n{number}.minidisc", "SRV")
                    await ixfr(place, 1)
                assert len(heard) - before < 15  # of 150 questions

    run(work)


def test_secondaries_that_are_named_hear_of_each_state() -> None:
    async def work() -> None:
        everybody = fleet(1)
        secondary = Secondary()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("mddns.host.domain.AHEAD", 0.1)
            async with (
                node(network_of(everybody[0], everybody), ("web", 80)) as alpha,
                forwarding(network=network_of(None, everybody), notify=[secondary.place]) as (_, place),
            ):
                source, first = await secondary.hear()
                assert source == place.address
                assert first == await soa(place)
                alpha.advertise(make(81, "web", {}))
                _, second = await secondary.hear()
                assert second == await soa(place) != first
        secondary.socket.close()

    run(work)
