"""The queries for responders and their right responses: 1,000 services, the same for all programs.

This module encodes messages itself, without code of mddns: a measured program must not define what is right.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SERVICES: Final = 1000
MACHINE: Final = "alpha"
FIRST_PORT: Final = 20_000
APEX: Final = "minidisc"
LOCAL: Final = "_bench._tcp.local"  # the service type for python-zeroconf

A, PTR, TXT, SRV, OPT = 1, 12, 16, 33, 41
NOERROR, NXDOMAIN = 0, 3
RD, AD = 0x0100, 0x0020
_COOKIE_OPTION: Final = 10
_UDP_SIZE: Final = 1232
_HEAD: Final = struct.Struct("=HHHHBB")  # struct question of c/load.c


def service(number: int) -> str:
    """The name of service number `number`."""
    return f"service-{number:03d}"


@dataclass(frozen=True, slots=True)
class Question:
    """A query's octets with id 0, the offset of its 8 cookie octets (0: none), and the right response."""

    octets: bytes
    cookie: int
    end: int
    ancount: int
    rcode: int
    opt: bool


def question(
    name: str, qtype: int, *, flags: int = 0, opt: bool = True, cookie: bool = False, ancount: int = 1, rcode: int = 0
) -> Question:
    """A query for `name` in class IN, with an OPT record and a client cookie (RFC 7873) if wanted."""
    qname = b"".join(bytes((len(label),)) + label.encode() for label in name.split(".")) + b"\0"
    octets = struct.pack("!6H", 0, flags, 1, 0, 0, 1 if opt else 0) + qname + struct.pack("!2H", qtype, 1)
    end = len(octets)
    if opt:
        option = struct.pack("!2H", _COOKIE_OPTION, 8) + bytes(8) if cookie else b""
        octets += b"\0" + struct.pack("!2HIH", OPT, _UDP_SIZE, 0, len(option)) + option
    return Question(octets, len(octets) - 8 if cookie else 0, end, ancount, rcode, opt)


def _repeated(apex: str) -> list[Question]:
    return [question(f"{service(i)}.{apex}", SRV) for i in range(SERVICES)]


def _mixed(apex: str) -> list[Question]:
    # Seeded, so that every run and every responder gets the same queries.
    draw = random.Random(4)
    made = []
    for i in range(20 * SERVICES):
        cookie = bool(i % 2)
        if draw.random() < 0.1:
            missing = f"missing-{draw.randrange(SERVICES):03d}.{apex}"
            made.append(question(missing, SRV, cookie=cookie, ancount=0, rcode=NXDOMAIN))
        else:
            qtype = draw.choices((SRV, A, TXT), (6, 2, 2))[0]
            made.append(question(f"{service(draw.randrange(SERVICES))}.{apex}", qtype, cookie=cookie))
    return made


def _dig(apex: str) -> list[Question]:
    return [question(f"{service(i)}.{apex}", SRV, flags=RD | AD, cookie=True) for i in range(SERVICES)]


def _stub(apex: str) -> list[Question]:
    return [question(f"{service(i)}.{apex}", A, flags=RD, opt=False) for i in range(SERVICES)]


WORKLOADS: Final[dict[str, tuple[str, Callable[[str], list[Question]]]]] = {
    "repeated": ("SRV as nodes ask each other (RD=0), each question's octets the same every time", _repeated),
    "dig": ("SRV as dig asks (RD=1, AD), a fresh cookie every time", _dig),
    "mixed": ("SRV, A, TXT (6:2:2, RD=0), half with a fresh cookie, one in ten no such name", _mixed),
    "stub": ("A as libc's stub asks (RD=1, no EDNS), the same octets every time", _stub),
}


def pack(questions: Iterable[Question]) -> bytes:
    """The queries in the file format of c/load.c and generator.py."""
    packed = [
        _HEAD.pack(len(each.octets), each.cookie, each.end, each.ancount, each.rcode, each.opt) + each.octets
        for each in questions
    ]
    return struct.pack("=I", len(packed)) + b"".join(packed)


def unpack(octets: bytes) -> list[Question]:
    """Reads the queries that :func:`pack` wrote."""
    made, at = [], 4
    while at < len(octets):
        length, cookie, end, ancount, rcode, opt = _HEAD.unpack_from(octets, at)
        at += _HEAD.size
        made.append(Question(octets[at : at + length], cookie, end, ancount, rcode, bool(opt)))
        at += length
    return made


def zone_file(address: str) -> str:
    """The services at `address` as a zone file: the records of mddns without those of DNS-SD."""
    lines = [
        f"$ORIGIN {APEX}.",
        "$TTL 5",
        f"@ SOA ns.{APEX}. hostmaster.{APEX}. 1 60 10 3600 1",
        f"@ NS ns.{APEX}.",
        f"ns A {address}",
    ]
    for i in range(SERVICES):
        name, instance = service(i), f"{MACHINE}-{FIRST_PORT + i}.{service(i)}"
        lines += [
            f"{name} SRV 10 10 {FIRST_PORT + i} {instance}.{APEX}.",
            f'{name} TXT "env=prod" "number={i}"',
            f"{name} A {address}",
            f"{instance} A {address}",
            f'{instance} TXT "env=prod" "number={i}"',
        ]
    return "\n".join(lines) + "\n"


def yaml_file() -> str:
    """The services as a file for ``md advertise``."""
    lines = ["services:"]
    for i in range(SERVICES):
        lines += [f"- {{name: {service(i)}, address: ':{FIRST_PORT + i}', labels: {{env: prod, number: '{i}'}}}}"]
    return "\n".join(lines) + "\n"


def dnsmasq_file(address: str) -> str:
    """The services as a configuration for dnsmasq."""
    lines = [f"local=/{APEX}/", "local-ttl=5"]
    for i in range(SERVICES):
        name, instance = f"{service(i)}.{APEX}", f"{MACHINE}-{FIRST_PORT + i}.{service(i)}.{APEX}"
        lines += [
            f"srv-host={name},{instance},{FIRST_PORT + i},10,10",
            f"txt-record={name},env=prod,number={i}",
            f"host-record={name},{address}",
            f"host-record={instance},{address}",
        ]
    return "\n".join(lines) + "\n"


def write(workload: str, apex: str, folder: Path) -> Path:
    """Writes the queries of a workload into a file."""
    path = folder / f"{workload}.{apex}.questions"
    path.write_bytes(pack(WORKLOADS[workload][1](apex)))
    return path
