"""The forwarder on real sockets of loopback: our names from the network, others from upstreams, whoever is away."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from pathlib import Path

import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
from bed.process import Process
from conftest import Measured
from loopback import Fixed, address, fleet, free_port, network_of, open_sockets
from program import MD
from upstreams import Upstream, answering, silent

from mddns.base.errors import NetworkError, PortInUse
from mddns.base.model import Snapshot
from mddns.base.names import Name
from mddns.base.offer import make
from mddns.base.policy import Policy
from mddns.files.resolv_conf import Place
from mddns.forward.forwarder import Forwarder
from mddns.forward.upstream_list import UpstreamSource
from mddns.networks import Network
from mddns.networks.settings import Settings
from mddns.node import Node

APEX = Name.parse("minidisc.")
EMPTY = Fixed(None, ())


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(30):
            await work()

    asyncio.run(main())


@contextlib.asynccontextmanager
async def forwarding(
    *upstreams: Upstream | Place,
    network: Network = EMPTY,
    at: Place | None = None,
    path: Path | None = None,
    recursive: bool = False,
    block_rebinding: bool = False,
    timeout: float = 1.0,
    notify: Sequence[Place] = (),
) -> AsyncIterator[tuple[Forwarder, Place]]:
    place = at or Place(address(), free_port())
    settings = Settings(network, "test", APEX, 28004, timeout)
    places = [each.place if isinstance(each, Upstream) else each for each in upstreams]
    source = UpstreamSource(places, str(path) if path else None)
    forwarder = await Forwarder.open(
        settings, source, [place], recursive=recursive, block_rebinding=block_rebinding, notify=notify
    )
    try:
        yield forwarder, place
    finally:
        await forwarder.close()


async def ask(
    place: Place, name: str, rtype: str = "A", *, tcp: bool = False, timeout: float = 5.0, **how: object
) -> dns.message.Message:
    query = dns.message.make_query(name, rtype, **how)  # type: ignore[arg-type]
    send = dns.asyncquery.tcp if tcp else dns.asyncquery.udp
    return await send(query, place.address, timeout=timeout, port=place.port)


def texts(message: dns.message.Message) -> list[str]:
    return sorted(line for rrset in message.answer for line in rrset.to_text().splitlines())


def codes(message: dns.message.Message) -> list[int]:
    return [int(option.code) for option in message.options]  # type: ignore[attr-defined]


@contextlib.asynccontextmanager
async def node(network: Fixed, *offers: tuple[str, int]) -> AsyncIterator[Node]:
    opened = await Node.open(network, APEX, timeout=1.0, policy=Policy())
    try:
        for name, port in offers:
            opened.advertise(make(port, name, {}))
        await opened.settled()
        yield opened
    finally:
        await opened.close()


# Who answers what


@pytest.mark.parametrize("tcp", [False, True])
def test_other_names_come_from_upstream(tcp: bool) -> None:
    async def work() -> None:
        async with Upstream(answering()) as upstream, forwarding(upstream) as (_, place):
            for _ in range(2):
                found = await ask(place, "www.example", tcp=tcp)
                assert texts(found) == ["www.example. 60 IN A 192.0.2.1"]
                assert dns.flags.to_text(found.flags) == "QR RD RA"
            assert upstream.names() == ["www.example"]

    run(work)


@pytest.mark.parametrize("rd", [True, False])
def test_our_names_are_the_networks_whatever_rd_says(rd: bool) -> None:
    async def work() -> None:
        everybody = fleet(2)
        async with (
            node(network_of(everybody[0], everybody), ("web", 80)),
            node(network_of(everybody[1], everybody), ("web", 81)),
            Upstream(answering()) as upstream,
            forwarding(upstream, network=network_of(None, everybody)) as (_, place),
        ):
            query = dns.message.make_query("web.minidisc", "SRV", flags=dns.flags.RD if rd else 0)
            found = await dns.asyncquery.udp(query, place.address, timeout=5, port=place.port)
            assert [line.split()[-1] for line in texts(found)] == [
                "host1-80.web.minidisc.",
                "host2-81.web.minidisc.",
            ]
            assert found.flags & dns.flags.AA
            assert upstream.names() == []

    run(work)


def test_services_of_this_host_are_found_by_asking_its_holder() -> None:
    async def work() -> None:
        everybody = fleet(1)
        network = network_of(everybody[0], everybody)
        async with node(network, ("web", 80)), forwarding(network=network) as (_, place):
            assert texts(await ask(place, "web.minidisc", "SRV"))

    run(work)


def test_peers_are_asked_once_however_many_names_are_asked() -> None:
    async def work() -> None:
        peers = fleet(1)
        asked: list[bytes] = []
        loop = asyncio.get_running_loop()

        class Counting(asyncio.DatagramProtocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                self.transport = transport

            def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
                asked.append(data)
                response = dns.message.make_response(dns.message.from_wire(data))
                response.set_rcode(dns.rcode.NXDOMAIN)
                self.transport.sendto(response.to_wire(), addr)  # type: ignore[attr-defined]

        transport, _ = await loop.create_datagram_endpoint(Counting, local_addr=(peers[0].addresses[0], peers[0].port))
        async with forwarding(network=network_of(None, peers)) as (_, place):
            await asyncio.gather(*(ask(place, f"s{n}.minidisc", "SRV") for n in range(50)))
            assert len(asked) == 1
        transport.close()

    run(work)


def test_a_hot_name_is_answered_while_its_peers_are_asked_ahead_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mddns.host.domain.AHEAD", 0.3)

    async def work() -> None:
        everybody = fleet(1)
        async with (
            node(network_of(everybody[0], everybody), ("web", 80)) as alpha,
            forwarding(network=network_of(None, everybody)) as (_, place),
        ):
            await ask(place, "web.minidisc", "SRV")
            alpha.advertise(make(81, "web", {}))
            await asyncio.sleep(0.4)
            await ask(place, "web.minidisc", "SRV")  # from what is known; the peers are asked meanwhile
            await asyncio.sleep(0.2)
            assert len(texts(await ask(place, "web.minidisc", "SRV"))) == 2

    run(work)


def test_the_apex_has_one_serial_that_moves_with_the_network() -> None:
    async def work() -> None:
        everybody = fleet(1)
        async with forwarding(network=network_of(None, everybody)) as (_, place):

            async def serials() -> set[str]:
                soa = texts(await ask(place, "minidisc", "SOA"))[0]
                denial = (await ask(place, "nothing.minidisc")).authority[0].to_text()
                return {soa.split()[6], denial.split()[6]}

            await ask(place, "web.minidisc")
            before = await serials()
            async with node(network_of(everybody[0], everybody), ("web", 80)):
                for _ in range(100):
                    if texts(await ask(place, "web.minidisc", "SRV")):
                        break
                    await asyncio.sleep(0.1)
                after = await serials()
            assert (len(before), len(after)) == (1, 1)
            assert before < after or min(before) < min(after)

    run(work)


def test_the_name_server_of_the_apex_is_where_we_answer() -> None:
    async def work() -> None:
        async with forwarding() as (_, place):
            found = await ask(place, "ns.minidisc")
            assert texts(found)[0].split()[-1] == place.address

    run(work)


@pytest.mark.parametrize(
    ("name", "rtype", "rcode"),
    [
        ("minidisc", "AXFR", "NOERROR"),
        ("minidisc", "IXFR", "FORMERR"),  # its serial is missing
        ("web.minidisc", "AXFR", "NOTIMP"),
        ("example", "AXFR", "REFUSED"),
        ("example", "IXFR", "REFUSED"),
    ],
)
def test_transfers_are_of_our_zone_and_none_is_forwarded(name: str, rtype: str, rcode: str) -> None:
    async def work() -> None:
        async with Upstream(answering()) as upstream, forwarding(upstream) as (_, place):
            query = dns.message.make_query(name, rtype)
            reader, writer = await asyncio.open_connection(*place)
            wire = query.to_wire()
            writer.write(len(wire).to_bytes(2, "big") + wire)
            size = int.from_bytes(await reader.readexactly(2), "big")
            found = await reader.readexactly(size)
            assert dns.rcode.to_text(dns.rcode.Rcode(found[3] & 15)) == rcode
            writer.close()
            assert upstream.names() == []

    run(work)


def test_the_size_of_udp_answers_is_the_clients() -> None:
    async def work() -> None:
        long = answering(f"60 IN TXT {' '.join('x' * 200 for _ in range(20))}")
        async with Upstream(long) as upstream, forwarding(upstream) as (_, place):
            await ask(place, "a.example", "TXT", tcp=True)
            assert (await ask(place, "a.example", "TXT")).flags & dns.flags.TC
            small = await ask(place, "a.example", "TXT", use_edns=0, payload=1232)
            assert small.flags & dns.flags.TC
            large = await ask(place, "a.example", "TXT", use_edns=0, payload=8192)
            assert len(large.answer[0][0].strings) == 20

    run(work)


def test_private_addresses_are_refused_under_all_names_but_ours() -> None:
    async def work() -> None:
        everybody = fleet(1)
        async with (
            node(network_of(everybody[0], everybody), ("web", 80)),
            Upstream(answering("60 IN A 10.0.0.1")) as upstream,
            forwarding(upstream, network=network_of(None, everybody), block_rebinding=True) as (_, place),
        ):
            assert (await ask(place, "evil.example")).rcode() == dns.rcode.REFUSED
            assert texts(await ask(place, "web.minidisc"))

    run(work)


# It stays up


class Absent:
    """A network that is not there until a test says so."""

    def __init__(self, later: Fixed) -> None:
        self.later = later
        self.there = False

    def read(self, timeout: float) -> Snapshot:
        if not self.there:
            raise NetworkError("tailscaled is not running")
        return self.later.read(timeout)

    async def aread(self, timeout: float) -> Snapshot:
        return self.read(timeout)


def test_without_a_network_other_names_are_answered_and_ours_when_it_comes() -> None:
    async def work() -> None:
        everybody = fleet(1)
        network = Absent(network_of(None, everybody))
        async with (
            node(network_of(everybody[0], everybody), ("web", 80)),
            Upstream(answering()) as upstream,
            forwarding(upstream, network=network) as (_, place),
        ):
            assert texts(await ask(place, "www.example"))
            found = await ask(place, "web.minidisc", "SRV", use_edns=0)
            assert (found.rcode(), codes(found)) == (dns.rcode.SERVFAIL, [14])
            network.there = True
            for _ in range(100):
                if texts(await ask(place, "web.minidisc", "SRV")):
                    break
                await asyncio.sleep(0.05)
            else:
                pytest.fail("the network is back and nobody noticed")
            network.there = False
            assert texts(await ask(place, "web.minidisc", "SRV"))

    run(work)


def test_a_changed_file_is_picked_up_within_2_s(tmp_path: Path) -> None:
    async def work() -> None:
        file = tmp_path / "resolv.conf"
        file.write_text("nameserver 127.0.0.250\noptions timeout:1 attempts:1\n")
        async with forwarding(path=file) as (forwarder, place):
            assert forwarder.upstreams == (Place("127.0.0.250"),)
            file.write_text(f"nameserver 127.0.0.251\nnameserver {place.address}\n")
            begun = time.monotonic()
            while forwarder.upstreams != (Place("127.0.0.251"), Place(place.address)):
                with contextlib.suppress(dns.exception.Timeout):
                    await ask(place, f"{time.monotonic_ns()}.example", timeout=0.05)
                assert time.monotonic() - begun < 2

    run(work)


def test_reload_forgets_what_upstreams_said() -> None:
    async def work() -> None:
        async with Upstream(answering()) as upstream, forwarding(upstream) as (forwarder, place):
            await ask(place, "a.example")
            upstream.script = answering("60 IN A 192.0.2.2")
            forwarder.reload()
            assert texts(await ask(place, "a.example")) == ["a.example. 60 IN A 192.0.2.2"]

    run(work)


# What resolv.conf says of how upstreams are asked


@contextlib.asynccontextmanager
async def with_options(folder: Path, options: str, *upstreams: Upstream) -> AsyncIterator[Place]:
    file = folder / "resolv.conf"
    file.write_text(f"options {options}\n")
    async with forwarding(*upstreams, path=file) as (_, place):
        await asyncio.sleep(0.3)  # who sends our questions back to us is found out at the start
        yield place


def test_rotate_asks_another_server_each_time(tmp_path: Path) -> None:
    async def work() -> None:
        async with (
            Upstream(answering()) as first,
            Upstream(answering()) as second,
            with_options(tmp_path, "rotate", first, second) as place,
        ):
            for number in range(10):
                assert texts(await ask(place, f"n{number}.example"))
            assert len(first.names()) == len(second.names()) == 5

    run(work)


def test_without_rotate_the_first_server_is_asked(tmp_path: Path) -> None:
    async def work() -> None:
        async with (
            Upstream(answering()) as first,
            Upstream(answering()) as second,
            with_options(tmp_path, "ndots:1", first, second) as place,
        ):
            for number in range(10):
                assert texts(await ask(place, f"n{number}.example"))
            assert (len(first.names()), len(second.names())) == (10, 0)

    run(work)


def test_use_vc_asks_over_tcp_alone(tmp_path: Path) -> None:
    async def work() -> None:
        async with Upstream(answering()) as upstream, with_options(tmp_path, "use-vc", upstream) as place:
            asked = upstream.over_tcp
            assert texts(await ask(place, "www.example"))
            assert (upstream.over_tcp - asked, upstream.names()) == (1, ["www.example"])

    run(work)


@pytest.mark.parametrize("options", ["edns0", "ndots:1"])
def test_edns_is_used_whether_edns0_is_said_or_not(tmp_path: Path, options: str) -> None:
    async def work() -> None:
        async with Upstream(answering()) as upstream, with_options(tmp_path, options, upstream) as place:
            assert texts(await ask(place, "www.example"))
            assert upstream.asked[-1].edns == 0

    run(work)


@pytest.mark.parametrize(("options", "seconds"), [("timeout:1 attempts:1", 1.0), ("timeout:1 attempts:2", 2.0)])
def test_timeout_and_attempts_say_when_silence_is_the_answer(tmp_path: Path, options: str, seconds: float) -> None:
    async def work() -> None:
        async with Upstream(silent) as upstream, with_options(tmp_path, options, upstream) as place:
            loop = asyncio.get_running_loop()
            begun = loop.time()
            assert (await ask(place, "www.example")).rcode() == dns.rcode.SERVFAIL
            assert seconds - 0.1 < loop.time() - begun < seconds + 0.9

    run(work)


def test_a_port_that_somebody_has_names_them_and_the_remedy() -> None:
    async def work() -> None:
        place = Place(address(), free_port())
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(place)
            before = open_sockets()
            with pytest.raises(PortInUse, match=r"UDP .* \(pid \d+, .*\): end it, or .* --listen ADDRESS:PORT"):
                async with forwarding(at=place):
                    pass
            assert open_sockets() == before

    run(work)


def test_nothing_is_left_open() -> None:
    async def work() -> None:
        before = open_sockets()
        async with Upstream(silent) as upstream:
            within = open_sockets()
            async with forwarding(upstream) as (_, place):
                waiting = [asyncio.create_task(ask(place, f"{n}.example", timeout=0.5)) for n in range(20)]
                await asyncio.sleep(0.1)
            assert open_sockets() <= within + 20  # those of who asks
            await asyncio.gather(*waiting, return_exceptions=True)
        assert open_sockets() <= before

    run(work)


def test_an_address_that_comes_later_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        async with Upstream(answering()) as upstream:
            settings = Settings(EMPTY, "test", APEX, 28004, 1.0)
            here, there = Place(address(), free_port()), Place("192.0.2.77", free_port())
            forwarder = await Forwarder.open(settings, UpstreamSource([upstream.place], None), [there, here])
            try:
                assert texts(await ask(here, "a.example"))
            finally:
                await forwarder.close()

    with caplog.at_level(logging.WARNING, "mddns"):
        run(work)
    assert "this machine does not have the address 192.0.2.77 yet; waiting for it" in caplog.text


# Whatever happens, others are not delayed


@pytest.mark.alone
def test_3000_questions_in_flight_do_not_delay_others_past_250_ms(tmp_path: Path, measured: Measured) -> None:
    """No name under slow.example is ever answered; names that are known, new, and ours are."""
    slow: set[str] = set()

    def script(query: dns.message.Message, tcp: bool) -> Iterable[bytes]:
        name = str(query.question[0].name).lower()
        if not name.endswith(".slow.example."):
            return answering()(query, tcp)
        slow.add(name)
        return ()

    async def work() -> None:
        everybody = fleet(1)
        place = Place("127.0.0.1", free_port())
        async with (
            node(network_of(everybody[0], everybody), ("web", 80)),
            Upstream(script) as upstream,
        ):
            spec = f"static:{everybody[0].addresses[0]}:{everybody[0].port}"
            argv = [*MD, "--network", spec, "forward", "--listen", f"{place.address}:{place.port}"]
            argv += ["--upstream", str(upstream.place)]
            with Process(argv, os.environ, tmp_path / "log", tmp_path) as process:
                await asyncio.to_thread(process.wait_for, "Ctrl-C ends it", 20)
                await ask(place, "known.example")
                number = 0
                with contextlib.ExitStack() as stack:
                    flood = [stack.enter_context(socket.socket(type=socket.SOCK_DGRAM)) for _ in range(30)]
                    for sock in flood:
                        sock.setblocking(False)
                        sock.connect(place)
                    begun = time.monotonic()
                    while len(slow) < 3000:
                        # No more at a time than the socket holds.
                        for sock in flood[: max(0, 150 - (number - len(slow)))]:
                            sock.send(dns.message.make_query(f"{number}.slow.example", "A").to_wire())
                            number += 1
                        if number - len(slow) >= 150 and time.monotonic() - begun > 3:
                            break
                        await asyncio.sleep(0.001)
                    took: dict[str, list[float]] = {}
                    for n in range(60):
                        for kind, name, rtype in (
                            ("known", "known.example", "A"),
                            ("new", f"new{n}.example", "A"),
                            ("ours", "web.minidisc", "SRV"),
                        ):
                            since = time.monotonic()
                            assert texts(await ask(place, name, rtype))
                            took.setdefault(kind, []).append(time.monotonic() - since)
                for kind, each in took.items():
                    each.sort()
                    shown = f"p50 {each[30] * 1000:.1f}, p90 {each[54] * 1000:.1f}, worst {each[-1] * 1000:.1f} ms"
                    measured(f"{len(slow)} questions in flight: {kind} names {shown}")
                assert max(each[-1] for each in took.values()) < 0.25
                assert process.terminate() == 0

    run(work)


def test_noise_ends_nothing() -> None:
    async def work() -> None:
        async with Upstream(answering()) as upstream, forwarding(upstream) as (_, place):
            draw = random.Random(7)
            good = dns.message.make_query("a.example", "A", use_edns=0).to_wire()
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.setblocking(False)
                sock.connect(place)
                for _ in range(3000):
                    wire = bytearray(good if draw.random() < 0.8 else draw.randbytes(draw.randrange(64)))
                    for _ in range(draw.randrange(4)):
                        if wire:
                            wire[draw.randrange(len(wire))] = draw.randrange(256)
                    with contextlib.suppress(OSError):
                        sock.send(bytes(wire))
                    if draw.random() < 0.05:
                        await asyncio.sleep(0)
            assert texts(await ask(place, "a.example"))

    run(work)


# Aliases of the world that end at a name of ours


def alias_to(*records: str) -> Callable[[dns.message.Message, bool], Iterable[bytes]]:
    """A server that knows these records whatever it is asked, and says that nothing else exists."""

    def script(query: dns.message.Message, tcp: bool) -> Iterable[bytes]:
        response = dns.message.make_response(query, recursion_available=True)
        response.set_rcode(dns.rcode.NXDOMAIN)
        for record in records:
            owner, ttl, rclass, kind, rest = record.split(None, 4)
            response.answer.append(dns.rrset.from_text(owner, int(ttl), rclass, kind, rest))
        response.authority.append(dns.rrset.from_text(".", 60, "IN", "SOA", "a.root. b.root. 1 2 3 4 60"))
        yield response.to_wire(max_size=65535)

    return script


ALIAS = "app.example. 60 IN CNAME web.minidisc."


@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize(
    ("records", "question", "rcode", "ends"),
    [
        ((ALIAS,), "app.example A", "NOERROR", ["A 127.8.0.1"]),
        ((ALIAS,), "app.example AAAA", "NOERROR", []),
        ((ALIAS,), "app.example SRV", "NOERROR", ["SRV 10 10 80 host1-80.web.minidisc."]),
        (("app.example. 60 IN CNAME web.prod._env.minidisc.",), "app.example SRV", "NOERROR", ["SRV 10 10 80 …"]),
        (("app.example. 60 IN CNAME nobody.minidisc.",), "app.example A", "NXDOMAIN", []),
        (("app.example. 60 IN CNAME minidisc.",), "app.example A", "NOERROR", []),
        (
            ("example. 60 IN DNAME minidisc.", "web.example. 60 IN CNAME web.minidisc."),
            "web.example A",
            "NOERROR",
            ["A 127.8.0.1"],
        ),
        # What an upstream says of our names does not count.
        ((ALIAS, "web.minidisc. 60 IN A 192.0.2.66"), "app.example A", "NOERROR", ["A 127.8.0.1"]),
        ((ALIAS, "web.minidisc. 60 IN CNAME evil.example."), "app.example A", "NOERROR", ["A 127.8.0.1"]),
    ],
)
def test_an_alias_of_the_world_is_followed_into_the_network(
    records: tuple[str, ...], question: str, rcode: str, ends: list[str], tcp: bool
) -> None:
    async def work() -> None:
        (only,) = everybody = fleet(1)
        async with (
            node(network_of(only, everybody)) as opened,
            Upstream(alias_to(*records)) as upstream,
            forwarding(upstream, network=network_of(None, everybody)) as (_, place),
        ):
            opened.advertise(make(80, "web", {"env": "prod"}))
            name, rtype = question.split()
            own = only.addresses[0]
            for _ in range(2):  # as it is learned, and as it is kept
                found = await ask(place, name, rtype, tcp=tcp)
                lines = [line.split(None, 3)[3] for line in texts(found)]
                kept = [line for line in lines if not line.startswith(("CNAME", "DNAME"))]
                wanted = [end.replace("127.8.0.1", own) for end in ends]
                assert [line[: len(end.rstrip("…"))] for line, end in zip(kept, wanted, strict=True)] == [
                    end.rstrip("…") for end in wanted
                ]
                assert dns.rcode.to_text(found.rcode()) == rcode
                assert any(line.startswith("CNAME") for line in lines)
                soa = [rrset.name.to_text() for rrset in found.authority]
                assert soa == ([] if ends else ["minidisc."])
                assert "evil" not in found.to_text()

    run(work)


def test_a_service_that_comes_later_is_found_by_an_alias_that_is_kept() -> None:
    async def work() -> None:
        (only,) = everybody = fleet(1)
        async with (
            node(network_of(only, everybody)) as opened,
            Upstream(alias_to(ALIAS)) as upstream,
            forwarding(upstream, network=network_of(None, everybody)) as (_, place),
        ):
            assert (await ask(place, "app.example")).rcode() == dns.rcode.NXDOMAIN
            opened.advertise(make(80, "web", {}))
            found = await ask(place, "app.example")
            while found.rcode() == dns.rcode.NXDOMAIN:
                await asyncio.sleep(0.02)
                found = await ask(place, "app.example")
            assert texts(found)[-1].split()[3:] == ["A", only.addresses[0]] or "CNAME" in texts(found)[-1]
            assert upstream.names() == ["app.example"]

    run(work)


def test_with_block_rebinding_no_name_of_the_world_leads_into_the_network() -> None:
    async def work() -> None:
        (only,) = everybody = fleet(1)
        async with (
            node(network_of(only, everybody), ("web", 80)),
            Upstream(alias_to(ALIAS)) as upstream,
            forwarding(upstream, network=network_of(None, everybody), block_rebinding=True) as (_, place),
        ):
            found = await ask(place, "app.example", use_edns=0)
            assert found.rcode() == dns.rcode.REFUSED
            assert codes(found) == [15]

    run(work)
