"""The forwarder as primary server: its SOA, AXFR and IXFR are of the merged zone, and secondaries hear of changes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

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
from loopback import Fixed, address, fleet, free_port, hostile, network_of
from test_forwarder import ask, forwarding, node, run, texts

from mddns.forwarder import Forwarder
from mddns.model import Peer
from mddns.offer import make
from mddns.resolvconf import Place

Records = frozenset[str]


def _zone(place: Place, *, serial: int | None = None) -> Records:
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
    query = dns.message.make_query("minidisc.", "IXFR")
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
        found = await dns.asyncquery.udp(query, place.address, timeout=5, port=place.port)
    return [
        str(rdata.serial) if rrset.rdtype == dns.rdatatype.SOA else f"{rrset.name} {rrset.rdtype.name} {rdata}"
        for rrset in found.answer
        for rdata in rrset
    ]


def serial_of(records: Iterable[str]) -> int:
    return next(int(line.split()[5]) for line in records if line.split()[2] == "SOA")


async def soa(place: Place) -> int:
    return int(texts(await ask(place, "minidisc", "SOA"))[0].split()[6])


def three(at: Place) -> tuple[tuple[Peer, ...], Fixed]:
    everybody = fleet(2)
    return everybody, network_of(None, everybody)


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
            patch.setattr("mddns.domain.AHEAD", 0.1)
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
