"""Peers for lookups: thousands of loopback addresses in one process, with prepared responses."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .build import built
from .corpus import APEX, PTR, SRV, TXT, A, question
from .process import CLIENT_CORE, Process

SERVICE: Final = "web"
PORT: Final = 28004  # also the fixed port of Minidisc's client
_FIRST: Final = int(ipaddress.ip_address("127.90.0.1"))
_SOA: Final = 6
_QR_AA_RA: Final = 0x8480
_NXDOMAIN: Final = 3
_TO_QUESTION: Final = b"\xc0\x0c"

KINDS: Final = {
    "alike": "one in a hundred has the service, the others say 'no such name' in identical octets",
    "serials": "the same, each with its own SOA serial, as registries that started at different times",
    "differ": "every peer has the service, no two answers alike",
    "refusing": "as serials; nobody listens at one address in ten",
    "silent": "as serials; one in ten takes the question and says nothing",
}


@dataclass(frozen=True, slots=True)
class Crowd:
    """N addresses to query, and `live`, N addresses that all respond, for clients that need this."""

    asked: tuple[str, ...]
    live: tuple[str, ...]
    holders: int  # how many of the queried peers that respond have the service
    answering: int
    packed: bytes


@dataclass(frozen=True, slots=True)
class Listed:
    """Peers that answer the first query of a mirror."""

    addresses: tuple[str, ...]
    packed: bytes


def query() -> bytes:
    """The query to all peers, with id 0."""
    return question(f"{SERVICE}.{APEX}", SRV).octets


def crowd(kind: str, count: int) -> Crowd:
    """`count` peers of the given kind."""
    spare = count // 10 if kind in ("refusing", "silent") else 0
    addresses = [str(ipaddress.ip_address(_FIRST + i)) for i in range(count + spare)]
    live, odd = addresses[:count], addresses[count:]
    asked = live[: count - spare] + odd
    # Mixes refusing and silent peers among the others.
    asked.sort(key=lambda address: hash_of(address))
    holds = [kind == "differ" or i % 100 == 0 for i in range(count)]
    packed = [
        _pack(address, _offer(address, i) if holds[i] else _denial(i if kind != "alike" else 0))
        for i, address in enumerate(live)
    ]
    if kind == "silent":
        packed += [_pack(address, b"") for address in odd]
    answering = count - spare
    return Crowd(
        tuple(asked), tuple(live), sum(holds[:answering]), answering, struct.pack("=I", len(packed)) + b"".join(packed)
    )


def listed(count: int) -> Listed:
    """`count` peers that list their service to watchers: the first has `SERVICE`, each other one another name."""
    addresses = [str(ipaddress.ip_address(_FIRST + i)) for i in range(count)]
    packed = [_pack(address, _list(address, i)) for i, address in enumerate(addresses)]
    return Listed(tuple(addresses), struct.pack("=I", len(packed)) + b"".join(packed))


def hash_of(address: str) -> int:
    """A hash that scatters neighbouring addresses; it is the same in each run."""
    return int(ipaddress.ip_address(address)) * 2654435761 % 2**32


class Peers(Process):
    """The process that responds for the peers of a crowd, until closed. Needs a C compiler: ``built("peers")``."""

    def __init__(self, packed: bytes, folder: Path, port: int = PORT) -> None:
        program = built("peers")
        if program is None:
            raise FileNotFoundError("no C compiler: run bench/setup")
        path = folder / "peers.packed"
        path.write_bytes(packed)
        super().__init__([program, str(port), path], folder / "peers.log", core=CLIENT_CORE, piped=True)
        if self.pipes[1].readline() != "ready\n":
            self.close()
            raise OSError((folder / "peers.log").read_text())

    def counts(self) -> tuple[int, int]:
        """The numbers of queries received and responses sent so far."""
        ask, told = self.pipes
        ask.write("\n")
        ask.flush()
        received, answered = told.readline().split()
        return int(received), int(answered)


def _head(rcode: int, counts: Sequence[int], asked: bytes | None = None) -> bytes:
    asked = asked or query()
    return struct.pack("!6H", 0, _QR_AA_RA | rcode, 1, *counts) + asked[12 : len(asked) - 11]


def _opt() -> bytes:
    return query()[-11:]


def _record(owner: bytes, rtype: int, ttl: int, rdata: bytes) -> bytes:
    return owner + struct.pack("!2HIH", rtype, 1, ttl, len(rdata)) + rdata


def _name(*labels: str) -> bytes:
    return b"".join(bytes((len(label),)) + label.encode() for label in labels) + b"\0"


def _denial(number: int) -> bytes:
    serial = 2_000_000_000 + 7 * number
    soa = _name("ns", APEX) + _name("hostmaster", APEX) + struct.pack("!5I", serial, 60, 10, 3600, 1)
    return _head(_NXDOMAIN, (0, 1, 1)) + _record(_name(APEX), _SOA, 1, soa) + _opt()


def _offer(address: str, number: int) -> bytes:
    target = _name(f"peer{number}-8080", SERVICE, APEX)
    head = _head(0, (1, 0, 3))
    srv = _record(_TO_QUESTION, SRV, 5, struct.pack("!3H", 10, 10, 8080) + target)
    owner = struct.pack("!H", 0xC000 | len(head) + len(srv) - len(target))
    texts = (b"env=prod", f"md.since={1_760_000_000_000 + number}".encode())
    txt = b"".join(bytes((len(text),)) + text for text in texts)
    packed = ipaddress.ip_address(address).packed
    return head + srv + _record(owner, A, 5, packed) + _record(owner, TXT, 5, txt) + _opt()


def _list(address: str, number: int) -> bytes:
    name = SERVICE if number == 0 else f"other-{number}"
    instance = _name(f"peer{number}-8080", name, APEX)
    head = _head(0, (1, 0, 4), question(f"_list.{APEX}", PTR).octets)
    ptr = _record(_TO_QUESTION, PTR, 5, instance)
    owner = struct.pack("!H", 0xC000 | len(head) + len(ptr) - len(instance))
    srv = _record(owner, SRV, 5, struct.pack("!3H", 10, 10, 8080) + instance)
    texts = (b"env=prod", f"md.since={1_760_000_000_000 + number}".encode())
    txt = b"".join(bytes((len(text),)) + text for text in texts)
    packed = ipaddress.ip_address(address).packed
    return head + ptr + srv + _record(owner, A, 5, packed) + _record(owner, TXT, 5, txt) + _opt()


def _pack(address: str, answer: bytes) -> bytes:
    return ipaddress.ip_address(address).packed + struct.pack("=H", len(answer)) + answer
