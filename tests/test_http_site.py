"""Who is answered over HTTP, by a real node."""

from __future__ import annotations

import http.client
from collections.abc import Iterator

import pytest
from loopback import address, fleet, network_of

import mddns
from mddns.counts import Counts
from mddns.http_site import Site
from mddns.http_trust import Names
from mddns.model import Peer
from mddns.web import Head, Request, Response, Web


def tell(request: Request) -> Response:
    return Response(200, repr((request.path, dict(request.query), request.own)).encode(), "text/plain")


def site() -> Site:
    made = Site(Web({("GET", "/x y"): tell}), {"100.64.0.1", "100.64.0.2"}.__contains__, Counts())
    made.moved(frozenset(("100.64.0.1",)), Names(["alpha"], ["minidisc."]))
    return made


def ask(target: str, source: str = "100.64.0.2", **headers: str) -> Response:
    head = Head("GET", target, {"host": "alpha", **headers}, source, 1)
    made = site()
    answer = made.look(head) or made.answer(head, b"")
    assert isinstance(answer, Response)
    return answer


def test_path_and_query_are_decoded() -> None:
    assert (
        ask("/x%20y?a=1&a=2&b=%3d&c").body == repr(("/x y", {"a": ("1", "2"), "b": ("=",), "c": ("",)}, False)).encode()
    )


def test_own_addresses_are_marked() -> None:
    assert ask("/x%20y", "100.64.0.1").body.endswith(b"True)")
    assert ask("/x%20y", "127.0.0.1").body.endswith(b"True)")


def test_a_stranger_gets_403() -> None:
    assert ask("/x%20y", "100.64.0.3").status == 403


@pytest.mark.parametrize("target", ["http://alpha:28004/x%20y?a", "HTTP://100.64.0.1/x%20y?a"])
def test_a_target_may_be_a_whole_url_of_ours(target: str) -> None:
    assert ask(target).status == 200


@pytest.mark.parametrize("target", ["http://evil.example/x%20y", "https://alpha@evil.example/x%20y"])
def test_a_url_of_another_host_is_refused(target: str) -> None:
    assert ask(target).status == 403


@pytest.mark.parametrize("target", ["*", "alpha:28004", "//", "x", "/%ff", "http://alpha"])
def test_other_targets_are_not_found(target: str) -> None:
    assert ask(target).status == 404


@pytest.mark.parametrize("target", ["/?" + "a=1&" * 200, "http://[alpha/"])
def test_what_cannot_be_read_is_a_bad_request_or_refused(target: str) -> None:
    assert ask(target).status in (400, 403)


def test_refusals_are_counted() -> None:
    made = site()
    made.look(Head("GET", "/", {"origin": "x"}, "100.64.0.2", 1))
    assert made._counts.refused == 1


@pytest.fixture(scope="module")
def node() -> Iterator[Peer]:
    """A node with a service; of its network's peers nobody is up."""
    everybody = fleet(2)
    with mddns.start_registry(network_of(everybody[0], everybody), timeout=0.2) as registry:
        registry.advertise_service(80, "web")
        yield everybody[0]


def get(peer: Peer, path: str, source: str | None = None, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(
        peer.addresses[0], peer.port, timeout=5, source_address=(source, 0) if source else None
    )
    try:
        connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_a_node_answers_http_on_its_port(node: Peer) -> None:
    assert get(node, "/nothing")[0] == 404


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Referer": "http://evil.example/"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Host": "evil.example"},
        {"Host": "evil.example:28004"},
    ],
)
def test_a_page_and_a_rebound_name_get_403_whatever_they_ask(node: Peer, headers: dict[str, str]) -> None:
    for path in ("/dns-query", "/nothing"):
        assert get(node, path, **headers)[0] == 403


def test_a_stranger_gets_nothing_but_403(node: Peer) -> None:
    assert get(node, "/dns-query", source=address())[0] in (400, 403)
