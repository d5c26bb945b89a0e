"""What DNS asks of every server, as a table: ISC's EDNS and old-DNS checks by dig, RFC 7766 on TCP connections.

A node on its port and the forwarder, over UDP and TCP. The checks are those of ISC's DNS compliance tester
(genreport): dig's options, and what has to come back.
"""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from bed.dig import need
from bed.hosts import Bed, Host
from conftest import MakeBed

TARGETS = ("node", "forwarder")
FORWARDER_PORT = 5354
SOA = re.compile(r"^minidisc\.\s+\d+\s+IN\s+SOA\s", re.MULTILINE)
NSID, COOKIE, SUBNET = "NSID", "COOKIE", "CLIENT-SUBNET"


@dataclass(frozen=True)
class Where:
    host: Host
    address: str
    port: int


@pytest.fixture(scope="module")
def bed(make_module_bed: MakeBed) -> Iterator[Bed]:
    """alpha offers a service and forwards; whoever it would forward to is not there."""
    bed = make_module_bed(["alpha"])
    alpha = bed.host("alpha")
    alpha.start(["md", "advertise", "web", ":8080", "env=prod"]).wait_for("advertised")
    listen = f"127.0.0.1:{FORWARDER_PORT}" if bed.namespaces else f"{alpha.ipv4}:{FORWARDER_PORT}"
    argv = ["md", "forward", "--listen", listen, "--upstream", "127.0.0.1#9"]
    alpha.start(argv).wait_for("answering at")
    return bed


@pytest.fixture(params=TARGETS)
def where(request: pytest.FixtureRequest, bed: Bed) -> Where:
    alpha = bed.host("alpha")
    if request.param == "node":
        return Where(alpha, alpha.ipv4, 28004)
    return Where(alpha, "127.0.0.1" if bed.namespaces else alpha.ipv4, FORWARDER_PORT)


def dig(where: Where, *options: str) -> str:
    need("dig")
    argv = ["dig", f"@{where.address}", "-p", str(where.port), "+tries=1", "+time=3", *options]
    return where.host.run(argv, timeout=15).stdout


def status(text: str) -> str:
    found = re.search(r"status: (\w+)", text)
    return found[1] if found else "silence"


def flags(text: str) -> set[str]:
    found = re.search(r";; flags: ([\w ]*);", text)
    return set(found[1].split()) if found else set()


def edns(text: str) -> str:
    found = re.search(r"^; EDNS: (.*)$", text, re.MULTILINE)
    return found[1] if found else ""


@dataclass(frozen=True)
class Check:
    """dig's options for the SOA of the apex, and what has to come back. `edns` is what dig shows of the OPT record."""

    name: str
    options: str
    status: str = "NOERROR"
    edns: str | None = "version: 0, flags:; udp: 1232"
    soa: bool = True
    unset: tuple[str, ...] = ("ad", "tc")
    shown: str = ""
    hidden: tuple[str, ...] = (NSID, COOKIE, SUBNET)


NO_EDNS = None
CHECKS = (
    Check("dns: plain", "+norec +noedns", edns=NO_EDNS),
    Check("dns: with recursion desired", "+rec +noedns", edns=NO_EDNS),
    Check("dns: AD set", "+norec +noedns +adflag", edns=NO_EDNS),
    Check("dns: CD set", "+norec +noedns +cdflag", edns=NO_EDNS, shown=" cd"),
    Check("dns: Z set", "+norec +noedns +zflag", edns=NO_EDNS),
    Check("dns: RA set in a query", "+norec +noedns +raflag", edns=NO_EDNS),
    Check("dns: AA set in a query", "+norec +noedns +aaflag", edns=NO_EDNS),
    Check("dns: TC set in a query", "+norec +noedns +tcflag +ignore", edns=NO_EDNS),
    Check("dns: over TCP", "+norec +noedns +tcp", edns=NO_EDNS),
    Check("dns: opcode 15", "+norec +noedns +opcode=15 +header-only", "NOTIMP", NO_EDNS, False),
    Check("dns: opcode 15 with a question", "+norec +noedns +opcode=15", "NOTIMP", NO_EDNS, False),
    Check("dns: opcode NOTIFY", "+norec +noedns +opcode=NOTIFY", "NOTIMP", NO_EDNS, False),
    Check("dns: opcode UPDATE", "+norec +noedns +opcode=UPDATE", "NOTIMP", NO_EDNS, False),
    Check("dns: opcode STATUS", "+norec +noedns +opcode=STATUS", "NOTIMP", NO_EDNS, False),
    Check("dns: opcode IQUERY", "+norec +noedns +opcode=IQUERY", "NOTIMP", NO_EDNS, False),
    Check("dns: a header alone", "+norec +noedns +header-only", "FORMERR", NO_EDNS, False),
    Check("edns: plain", "+norec +edns=0 +nocookie"),
    Check("edns: version 1", "+norec +edns=1 +noednsneg +nocookie", "BADVERS", soa=False),
    Check("edns: version 100", "+norec +edns=100 +noednsneg +nocookie", "BADVERS", soa=False),
    Check("edns: an unknown option", "+norec +ednsopt=100 +nocookie", shown="", hidden=("OPT=100",)),
    Check("edns: an unknown option with data", "+norec +ednsopt=100:cafe +nocookie", hidden=("OPT=100",)),
    Check("edns: unknown flags", "+norec +ednsflags=0x80 +nocookie"),
    Check(
        "edns: version 1, an unknown option", "+norec +edns=1 +noednsneg +ednsopt=100 +nocookie", "BADVERS", soa=False
    ),
    Check(
        "edns: version 1, unknown flags", "+norec +edns=1 +noednsneg +ednsflags=0x80 +nocookie", "BADVERS", soa=False
    ),
    Check("edns: DO", "+norec +dnssec +nocookie", edns="version: 0, flags: do; udp: 1232"),
    Check("edns: 512 octets", "+norec +dnssec +bufsize=512 +nocookie", edns="version: 0, flags: do; udp: 1232"),
    Check("edns: 0 octets", "+norec +bufsize=0 +nocookie"),
    Check("edns: 65535 octets", "+norec +bufsize=65535 +nocookie"),
    Check("edns: over TCP", "+norec +edns=0 +nocookie +tcp"),
    Check("edns: version 1 over TCP", "+norec +edns=1 +noednsneg +nocookie +tcp", "BADVERS", soa=False),
    Check("edns: NSID", "+norec +nsid +nocookie"),
    Check("edns: cookie", "+norec +cookie"),
    Check("edns: a cookie of a server", "+norec +cookie=0123456789abcdef0123456789abcdef"),
    Check("edns: client subnet", "+norec +subnet=192.0.2.0/24 +nocookie"),
    Check("edns: expire", "+norec +expire +nocookie", hidden=("EXPIRE",)),
    Check("edns: keepalive over TCP", "+norec +keepalive +tcp +nocookie", hidden=("KEEPALIVE",)),
    Check("edns: padding", "+norec +padding=128 +nocookie", hidden=("PAD",)),
    Check("edns: many options", "+norec +nsid +subnet=0.0.0.0/0 +expire +cookie +ednsopt=100"),
)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_as_isc_checks_it(where: Where, check: Check) -> None:
    text = dig(where, *check.options.split(), "-t", "SOA", "-q", "minidisc")
    assert status(text) == check.status, text
    assert edns(text) == (check.edns or ""), text
    assert bool(SOA.search(text)) is check.soa, text
    assert not flags(text) & set(check.unset), text
    assert "qr" in flags(text)
    assert ("aa" in flags(text)) is check.soa
    assert "MBZ" not in text.replace("; MBZ: 0x0", "")
    assert check.shown in text
    assert not any(option in text for option in check.hidden), text
    assert "malformed" not in text
    assert "WARNING" not in text.replace("WARNING: recursion requested but not available", ""), text


TYPES = (
    *("A", "NS", "CNAME", "SOA", "PTR", "MX", "TXT", "AAAA", "SRV", "NAPTR", "DS", "DNSKEY", "NSEC", "NSEC3", "RRSIG"),
    *("CDS", "CDNSKEY", "TLSA", "HTTPS", "SVCB", "CAA", "SPF", "URI", "LOC", "SSHFP", "HINFO", "TYPE1000", "TYPE65534"),
)


@pytest.mark.parametrize("rtype", TYPES)
def test_every_type_is_answered_at_the_apex_and_denied_where_there_is_nothing(where: Where, rtype: str) -> None:
    """Unknown ones too (RFC 3597): NODATA, never an error, never silence."""
    text = dig(where, "+norec", "-t", rtype, "-q", "minidisc")
    assert status(text) == "NOERROR"
    assert SOA.search(text) or rtype in ("NS", "A", "AAAA", "TXT")
    assert status(dig(where, "-t", rtype, "-q", "nothing.minidisc")) == "NXDOMAIN"


@pytest.mark.parametrize("rclass", ["CH", "HS", "CLASS1000", "ANY", "NONE"])
def test_other_classes_are_refused(where: Where, rclass: str) -> None:
    assert status(dig(where, "-c", rclass, "-t", "TXT", "-q", "version.bind")) == "REFUSED"
    assert status(dig(where, "-c", rclass, "-t", "SOA", "-q", "minidisc")) == "REFUSED"


@pytest.mark.parametrize("name", ["MINIDISC", "MiNiDiSc"])
def test_the_case_of_the_question_is_echoed(where: Where, name: str) -> None:
    assert f";{name}." in dig(where, "-t", "SOA", "-q", name)


# Octets that dig does not send


def udp(where: Where, wire: bytes, patience: float = 0.3) -> bytes | None:
    def asked() -> bytes | None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(patience)
            sock.connect((where.address, where.port))
            sock.send(wire)
            try:
                return sock.recv(65535)
            except TimeoutError:
                return None

    return where.host.call(asked)


def query(name: bytes = b"\x08minidisc\0", qtype: int = 6, ident: int = 7, flags: int = 0) -> bytes:
    return struct.pack("!6H", ident, flags, 1, 0, 0, 0) + name + struct.pack("!2H", qtype, 1)


SILENT = {
    "no octet": b"",
    "one octet": b"\0",
    "eleven octets": bytes(11),
    "an answer": query(flags=0x8000),
    "an answer of another opcode": query(flags=0xA800),
    "an answer that is a header": struct.pack("!6H", 7, 0x8000, 0, 0, 0, 0),
}
FORMERR = {
    "a header alone": struct.pack("!6H", 7, 0, 0, 0, 0, 0),
    "a question that is missing": struct.pack("!6H", 7, 0, 1, 0, 0, 0),
    "a question that is cut off": query()[:-1],
    "two questions": query()[:4] + b"\0\2" + query()[6:] + query()[12:],
    "a name that points to itself": struct.pack("!6H", 7, 0, 1, 0, 0, 0) + b"\xc0\x0c" + struct.pack("!2H", 6, 1),
    "a name that is too long": query(name=b"\x3f" + b"x" * 63 + (b"\x3f" + b"x" * 63) * 3 + b"\0"),
    "octets behind the end": query() + b"\0",
    "an answer in a query": query()[:6] + b"\0\1" + query()[8:] + b"\0" + struct.pack("!2HIH", 1, 1, 0, 4) + bytes(4),
    "two OPT records": query()[:10] + b"\0\2" + query()[12:] + 2 * (b"\0" + struct.pack("!2HIH", 41, 1232, 0, 0)),
    "an OPT record that is not the root's": query()[:10]
    + b"\0\1"
    + query()[12:]
    + b"\1x\0"
    + struct.pack("!2HIH", 41, 1232, 0, 0),
    "an option that is cut off": query()[:10]
    + b"\0\1"
    + query()[12:]
    + b"\0"
    + struct.pack("!2HIH", 41, 1232, 0, 3)
    + b"\0\x0a\0",
}


@pytest.mark.parametrize("what", SILENT)
def test_what_is_no_query_is_not_answered(where: Where, what: str) -> None:
    assert udp(where, SILENT[what]) is None
    assert udp(where, query(), 5.0)


@pytest.mark.parametrize("what", FORMERR)
def test_what_cannot_be_read_is_a_formerr(where: Where, what: str) -> None:
    answer = udp(where, FORMERR[what], 5.0)
    assert answer
    assert answer[:2] == b"\0\7"
    assert answer[2] & 0x80
    assert answer[3] & 0x0F == 1
    assert len(answer) <= len(FORMERR[what])


# RFC 7766


class Connection:
    """A TCP connection to a server, message by message."""

    def __init__(self, where: Where) -> None:
        def connect() -> socket.socket:
            return socket.create_connection((where.address, where.port), 5)

        self.socket = where.host.call(connect)
        self.received = b""

    def send(self, *messages: bytes) -> None:
        self.socket.sendall(b"".join(struct.pack("!H", len(each)) + each for each in messages))

    def read(self) -> bytes | None:
        """The next message; None at the end."""
        while len(self.received) < 2 or len(self.received) < 2 + int.from_bytes(self.received[:2], "big"):
            octets = self.socket.recv(65535)
            if not octets:
                return None
            self.received += octets
        end = 2 + int.from_bytes(self.received[:2], "big")
        message, self.received = self.received[2:end], self.received[end:]
        return message


@pytest.fixture
def connection(where: Where) -> Iterator[Connection]:
    made = Connection(where)
    with contextlib.closing(made.socket):
        yield made


def test_queries_are_pipelined(connection: Connection) -> None:
    """RFC 7766 6.2.1.1: many at once, all answered."""
    connection.send(*(query(ident=n) for n in range(200)))
    found = [connection.read() or b"" for _ in range(200)]
    assert sorted(int.from_bytes(each[:2], "big") for each in found) == list(range(200))


def test_a_connection_is_used_again(connection: Connection) -> None:
    for n in range(3):
        connection.send(query(ident=n))
        assert (connection.read() or b"")[:2] == n.to_bytes(2, "big")


def test_a_message_may_come_in_pieces(connection: Connection) -> None:
    wire = query()
    for octet in struct.pack("!H", len(wire)) + wire:
        connection.socket.sendall(bytes((octet,)))
    assert connection.read()


def test_a_client_that_has_closed_its_side_gets_its_answers(connection: Connection) -> None:
    """RFC 7766 6.2.4."""
    connection.send(*(query(ident=n) for n in range(20)))
    connection.socket.shutdown(socket.SHUT_WR)
    found = []
    while (message := connection.read()) is not None:
        found.append(message)
    assert len(found) == 20


def test_a_formerr_does_not_end_a_connection(connection: Connection) -> None:
    connection.send(query()[:-1], query(ident=8))
    assert {(connection.read() or b"")[:2] for _ in range(2)} == {b"\0\7", b"\0\x08"}


def test_an_answer_within_a_connection_is_passed_over(connection: Connection) -> None:
    connection.send(query(flags=0x8000), query(ident=8))
    assert (connection.read() or b"")[:2] == b"\0\x08"


@pytest.mark.parametrize("size", [0, 11])
def test_less_than_a_header_ends_a_connection(connection: Connection, size: int) -> None:
    connection.socket.sendall(struct.pack("!H", size) + bytes(size))
    with contextlib.suppress(ConnectionError):
        assert connection.read() is None


def test_who_says_nothing_is_ended_within_10_s(connection: Connection) -> None:
    connection.socket.settimeout(10)
    with contextlib.suppress(ConnectionError):
        assert connection.read() is None


def test_a_connection_may_rest_between_questions(connection: Connection) -> None:
    """RFC 7766 6.2.3: a few seconds at least."""
    connection.send(query())
    connection.read()
    time.sleep(4)
    connection.send(query(ident=8))
    assert (connection.read() or b"")[:2] == b"\0\x08"


def test_of_too_many_connections_the_others_go_on(where: Where) -> None:
    made = [Connection(where) for _ in range(120)]
    try:
        answered = 0
        for each in made:
            with contextlib.suppress(OSError):
                each.socket.settimeout(0.5)
                each.send(query())
                answered += each.read() is not None
        assert answered >= 8
    finally:
        for each in made:
            each.socket.close()
    fresh = Connection(where)
    with contextlib.closing(fresh.socket):
        fresh.send(query())
        assert fresh.read()


def test_answers_come_in_the_order_in_which_they_are_ready(bed: Bed) -> None:
    """RFC 7766 6.2.1.1: the forwarder's upstream is silent about one name, and everything else is answered first."""
    alpha = bed.host("alpha")
    address = "127.0.0.1" if bed.namespaces else alpha.ipv4
    silent = alpha.call(socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
    with silent:
        silent.bind((address, 0))
        upstream = f"{address}#{silent.getsockname()[1]}"
        listen = f"{address}:{FORWARDER_PORT + 1}"
        process = alpha.start(["md", "forward", "--listen", listen, "--upstream", upstream])
        with process:
            process.wait_for("answering at")
            made = Connection(Where(alpha, address, FORWARDER_PORT + 1))
            with contextlib.closing(made.socket):
                made.send(query(b"\1x\7example\0", 1, 1, 0x100), *(query(ident=n) for n in range(2, 12)))
                first = [int.from_bytes((made.read() or b"")[:2], "big") for _ in range(10)]
                assert sorted(first) == list(range(2, 12))
                made.socket.settimeout(8)
                last = made.read()
                assert last
                assert (last[:2], last[3] & 15) == (b"\0\1", 2)
