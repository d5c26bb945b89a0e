"""DNS over HTTP: asked by dnspython's DoH client, by curl, and with octets that are no query."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Awaitable, Iterator
from pathlib import Path

import dns.flags
import dns.message
import dns.opcode
import dns.query
import dns.rcode
import pytest
from loopback import fleet, network_of

import mddns
from mddns.base.model import Peer
from mddns.http.doh import MEDIA_TYPE, DnsQuery, lifetime
from mddns.http.messages import Request, Response
from mddns.responder.reaction import Messages


@pytest.fixture(scope="module")
def nodes() -> Iterator[tuple[Peer, Peer]]:
    """Two nodes, of which each offers a service."""
    everybody = fleet(2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mddns.directory.peer_memory.FIRST_PAUSE", 0.0)
        first = mddns.start_registry(network_of(everybody[0], everybody))
        second = mddns.start_registry(network_of(everybody[1], everybody))
        with first, second:
            first.advertise_service(80, "web", {"env": "prod"})
            second.advertise_service(81, "web", {"env": "dev"})
            yield everybody[0], everybody[1]


def url(peer: Peer) -> str:
    return f"http://{peer.addresses[0]}:{peer.port}/dns-query"


@pytest.mark.parametrize("post", [True, False], ids=["POST", "GET"])
@pytest.mark.parametrize("rd", [True, False])
def test_a_doh_client_gets_the_whole_network_whatever_rd_says(nodes: tuple[Peer, Peer], post: bool, rd: bool) -> None:
    query = dns.message.make_query("web.minidisc", "SRV", flags=dns.flags.RD if rd else 0)
    answer = dns.query.https(query, url(nodes[0]), post=post, timeout=5)
    assert sorted(record.port for record in answer.answer[0]) == [80, 81]
    assert answer.id == query.id
    assert bool(answer.flags & dns.flags.RD) is rd


def test_a_tailscale_clients_post_is_answered(nodes: tuple[Peer, Peer], tmp_path: Path) -> None:
    """As its forwarder sends it: POST, the message, and nothing but 200 and the type are looked at."""
    query = dns.message.make_query("web.minidisc", "A", use_edns=0)
    (tmp_path / "query").write_bytes(query.to_wire())
    ran = subprocess.run(
        ["curl", "-sS", "--fail", "-D", tmp_path / "head", "-H", f"Content-Type: {MEDIA_TYPE}",
         "-H", f"Accept: {MEDIA_TYPE}", "--data-binary", f"@{tmp_path / 'query'}", url(nodes[1])],
        capture_output=True,
        timeout=20,
        check=True,
    )  # fmt: skip
    answer = dns.message.from_wire(ran.stdout)
    assert query.is_response(answer)
    assert len(answer.answer[0]) == 2
    head = (tmp_path / "head").read_text().lower()
    assert f"content-type: {MEDIA_TYPE}\n" in head.replace("\r", "")
    age = int(head.partition("cache-control: max-age=")[2].split()[0])
    assert 0 <= age <= min(rrset.ttl for rrset in answer.answer)


def test_no_such_name_is_200_too(nodes: tuple[Peer, Peer]) -> None:
    answer = dns.query.https(dns.message.make_query("nothing.minidisc", "SRV"), url(nodes[0]), timeout=5)
    assert answer.rcode() == dns.rcode.NXDOMAIN


def test_an_update_is_not_taken(nodes: tuple[Peer, Peer]) -> None:
    query = dns.message.make_query("web.minidisc", "SOA")
    query.set_opcode(dns.opcode.UPDATE)
    for post in (True, False):
        query.id = 0
        answer = dns.query.https(query, url(nodes[0]), post=post, timeout=5)
        assert answer.rcode() == dns.rcode.NOTIMP


# Decisions, without a socket

QUERY = dns.message.make_query("web.minidisc", "SRV").to_wire()


def mine(answering: object) -> DnsQuery:
    return DnsQuery(answering)  # type: ignore[arg-type]


def asked(
    body: bytes = QUERY, kind: str = MEDIA_TYPE, query: dict[str, tuple[str, ...]] | None = None, method: str = "POST"
) -> Request:
    return Request(method, "/dns-query", query or {}, {"content-type": kind}, body, "100.64.0.2", 1, False)


def post(body: bytes = QUERY, kind: str = MEDIA_TYPE, answer: object = b"\0" * 12) -> Response:
    response = mine(lambda wire, address: answer).post(asked(body, kind))
    assert isinstance(response, Response)
    return response


def get(*dns: str) -> Response:
    response = mine(lambda wire, address: b"\0" * 12).get(asked(b"", "", {"dns": dns} if dns else {}, "GET"))
    assert isinstance(response, Response)
    return response


@pytest.mark.parametrize("kind", ["", "text/plain", "application/dns-json", "application/dns"])
def test_a_body_of_another_type_is_415(kind: str) -> None:
    assert post(kind=kind).status == 415


def test_the_type_may_have_parameters_and_any_case() -> None:
    assert post(kind="Application/DNS-Message; charset=x").status == 200


@pytest.mark.parametrize("body", [b"", b"x" * 11, QUERY[:2] + b"\x80" + QUERY[3:]], ids=["empty", "short", "answer"])
def test_what_is_no_query_is_400(body: bytes) -> None:
    assert post(body).status == 400


def test_a_message_that_is_none_by_its_size_is_413() -> None:
    assert post(QUERY + bytes(65_536 - len(QUERY))).status == 413


@pytest.mark.parametrize("length", range(12, 24))
def test_base64url_of_any_length_is_read(length: int) -> None:
    heard: list[bytes] = []
    wire = bytes(2) + b"\1" + bytes(range(200, 197 + length))
    text = base64.urlsafe_b64encode(wire).rstrip(b"=").decode()
    mine(lambda wire, address: heard.append(wire)).get(asked(query={"dns": (text,)}))
    assert heard == [wire]


@pytest.mark.parametrize(
    "given",
    [(), ("",), ("AAAB", "AAAB"), ("A",), ("AAABAAABAAAAAAAAA3dlYg==",), ("AAAB+AAB",), ("AAA/",), ("ä",), ("AA\nAB",)],
)
def test_a_parameter_that_is_no_message_is_400(given: tuple[str, ...]) -> None:
    assert get(*given).status == 400


def test_too_many_questions_are_503_which_a_stub_takes_for_servfail() -> None:
    assert post(answer=None).status == 503


def test_a_transfer_is_not_implemented_here() -> None:
    assert dns.message.from_wire(post(answer=Messages(iter((b"first", b"second")))).body).rcode() == dns.rcode.NOTIMP


def test_an_answer_may_come_later() -> None:
    async def later() -> bytes:
        return QUERY[:2] + b"\x85" + QUERY[3:]

    response = mine(lambda wire, address: later()).post(asked())
    assert isinstance(response, Awaitable)
    with pytest.raises(StopIteration) as stopped:
        response.__await__().send(None)
    assert stopped.value.value.body == QUERY[:2] + b"\x85" + QUERY[3:]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (
            ";ANSWER\nweb.minidisc. 4 IN A 10.0.0.1\nweb.minidisc. 3 IN TXT x\n;ADDITIONAL\nx. 1 IN A 10.0.0.1",
            3,
        ),
        (";AUTHORITY\nminidisc. 5 IN SOA ns.minidisc. h.minidisc. 7 60 10 3600 1", 1),
        (";AUTHORITY\nminidisc. 0 IN SOA ns.minidisc. h.minidisc. 7 60 10 3600 9", 0),
        (";ANSWER\nweb.minidisc. 500 IN A 10.0.0.1", 5),
        ("", 0),
    ],
)
def test_an_answer_may_be_kept_for_its_smallest_ttl(text: str, seconds: int) -> None:
    head = "id 1\nopcode QUERY\nrcode NOERROR\nflags QR AA\n;QUESTION\nweb.minidisc. IN ANY\n"
    assert lifetime(dns.message.from_text(head + text).to_wire()) == seconds


@pytest.mark.parametrize("rcode", ["SERVFAIL", "REFUSED"])
def test_failures_are_not_kept(rcode: str) -> None:
    head = f"id 1\nopcode QUERY\nrcode {rcode}\nflags QR AA\n;QUESTION\nweb.minidisc. IN ANY\n"
    assert lifetime(dns.message.from_text(head).to_wire()) == 0


def test_a_header_alone_is_not_kept() -> None:
    assert lifetime(bytes(12)) == 0
