"""Asks many peers at once, in several ways in turn, and times each. fanout.py JOB (a JSON file); prints JSON.

A job has: `addresses`, `port`, `rounds`, `ways`, `query` (hex), `live` (the addresses that `bare` asks), `timeout`.
Every way runs with the peer list in hand: how each comes by it is not measured here.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import socket
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import mddns
from fixed import Fixed
from mddns.base.model import Peer, Snapshot
from mddns.lookup.query import Query

IN_FLIGHT: Final = 128  # the stock receive buffer holds twice as many
NAME: Final = "web"


def bare(job: dict[str, Any]) -> Callable[[], int]:
    """What sending and receiving the datagrams costs, whatever they say."""
    targets, count = [(address, job["port"]) for address in job["live"]], len(job["live"])
    rest = bytes.fromhex(job["query"])[2:]

    def run() -> int:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            # One call a datagram: a timeout of Python's own would add a poll.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 1, 0))
            idents = os.urandom(2 * count)
            sent = received = 0
            while received < count:
                while sent < count and sent - received < IN_FLIGHT:
                    sock.sendto(idents[2 * sent : 2 * sent + 2] + rest, targets[sent])
                    sent += 1
                sock.recvfrom(65535)
                received += 1
        return received

    return run


def _network(job: dict[str, Any]) -> Fixed:
    peers = tuple(Peer(f"peer{i}", (address,), job["port"]) for i, address in enumerate(job["addresses"]))
    return Fixed(Snapshot(None, peers, "bench"))


def ours(job: dict[str, Any]) -> Callable[[], int]:
    """`resolve` with nothing known beforehand."""
    network = _network(job)

    def run() -> int:
        with mddns.Resolver(network=network, timeout=job["timeout"]) as resolver:
            return len(resolver.resolve(NAME))

    return run


def ours_known(job: dict[str, Any]) -> Callable[[], int]:
    """`resolve` of what was asked a moment ago."""
    resolver = mddns.Resolver(network=_network(job), timeout=job["timeout"])
    resolver.resolve(NAME)
    return lambda: len(resolver.resolve(NAME))


def ours_counted(job: dict[str, Any]) -> Callable[[], int]:
    """How many peers answered: what `resolve` does not tell."""
    network = _network(job)

    def run() -> int:
        with mddns.Resolver(network=network, timeout=job["timeout"]) as resolver:
            return resolver.find(Query.of(NAME)).answered

    return run


def with_dnspython(job: dict[str, Any]) -> Callable[[], int]:
    """dnspython's asyncquery, gathered, as many in flight."""
    asyncquery, message = importlib.import_module("dns.asyncquery"), importlib.import_module("dns.message")

    async def main() -> int:
        gate = asyncio.Semaphore(IN_FLIGHT)

        async def one(address: str) -> int:
            async with gate:
                query = message.make_query(f"{NAME}.minidisc", "SRV", use_edns=0, payload=1232)
                reply = await asyncquery.udp(query, address, timeout=5, port=job["port"])
                return len(reply.answer)

        return sum(await asyncio.gather(*(one(address) for address in job["live"])))

    return lambda: asyncio.run(main())


def with_aiodns(job: dict[str, Any]) -> Callable[[], int]:
    """aiodns, a resolver for each peer, gathered, as many in flight."""
    aiodns = importlib.import_module("aiodns")

    async def main() -> int:
        gate = asyncio.Semaphore(IN_FLIGHT)

        async def one(address: str) -> int:
            async with gate:
                resolver = aiodns.DNSResolver([address], udp_port=job["port"], timeout=5, tries=1)
                try:
                    return len((await resolver.query_dns(f"{NAME}.minidisc", "SRV")).answer)
                except aiodns.error.DNSError:
                    return 0  # most peers know of no such name
                finally:
                    await resolver.close()

        return sum(await asyncio.gather(*(one(address) for address in job["live"])))

    return lambda: asyncio.run(main())


def with_minidisc(job: dict[str, Any]) -> Callable[[], int]:
    """Minidisc's Python client."""
    minidisc = importlib.import_module("minidisc")
    vars(minidisc)["_list_tailnet_addresses"] = lambda: job["live"]
    return lambda: len(minidisc.list_services())


WAYS: Final = {
    "bare": bare,
    "mddns": ours,
    "known": ours_known,
    "counted": ours_counted,
    "dnspython": with_dnspython,
    "aiodns": with_aiodns,
    "minidisc": with_minidisc,
}


def main() -> None:
    """All ways in turn, `rounds` times, after one turn that does not count."""
    job = json.loads(Path(sys.argv[1]).read_text())
    ways = {name: WAYS[name](job) for name in job["ways"]}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    found: dict[str, set[int]] = {name: set() for name in ways}
    cpu: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(job["rounds"] + job["unmeasured"]):
        for name, run in ways.items():
            used, begun = time.process_time(), time.perf_counter()
            count = run()
            took, used = time.perf_counter() - begun, time.process_time() - used
            found[name].add(count)
            if number >= job["unmeasured"]:
                seconds[name].append(took)
                cpu[name].append(used)
    print(
        json.dumps({name: {"seconds": seconds[name], "cpu": cpu[name], "found": sorted(found[name])} for name in ways})
    )


main()
