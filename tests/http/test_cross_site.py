"""Which requests are those of programs, and which of web pages."""

from __future__ import annotations

import pytest

from mddns.http.cross_site import Names, why_not

NAMES = Names(["Alpha", "alpha.tail1234.ts.net", ""], ["minidisc.", "svc.example."])


@pytest.mark.parametrize(
    "host",
    [
        "100.64.0.1",
        "100.64.0.1:28004",
        "[fd7a::1]",
        "[fd7a::1]:28004",
        "[fe80::1%25eth0]:28004",
        "localhost",
        "LOCALHOST:28004",
        "alpha",
        "ALPHA:80",
        "alpha.",
        "alpha.tail1234.ts.net:28004",
        "alpha.tail1234.ts.net.",
        "web.minidisc",
        "alpha-80.web.minidisc.:28004",
        "minidisc",
        "x.svc.example",
        "alpha:",
    ],
)
def test_an_address_and_our_own_names_are_ours(host: str) -> None:
    assert NAMES.include(host)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "alpha.evil.example",
        "minidisc.evil.example",
        "evilminidisc",
        "100.64.0.1.evil.example",
        "localhost.evil.example",
        "alpha.tail1234.ts.net.evil.example",
        "[fd7a::1",
        "[alpha]",
        "[fd7a::1]evil.example",
        "alpha:80:90",
        "alpha:x",
        "alpha, evil.example",
        "",
        ".",
        "..minidisc.evil",
    ],
)
def test_what_somebody_else_may_point_here_is_not(host: str) -> None:
    assert not NAMES.include(host)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"user-agent": "Prometheus/2.42"},
        {"sec-fetch-site": "none"},
        {"sec-fetch-site": "same-origin"},
        {"sec-fetch-site": " None "},
    ],
)
def test_a_program_is_answered(headers: dict[str, str]) -> None:
    assert why_not(headers, ["alpha"], NAMES) is None


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": ""},
        {"origin": "http://alpha:28004"},
        {"referer": "http://evil.example/"},
        {"referer": ""},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": ""},
        {"sec-fetch-site": "none, cross-site"},
        {"sec-fetch-site": "whatever comes next"},
    ],
)
def test_a_web_page_is_not(headers: dict[str, str]) -> None:
    assert why_not(headers, ["alpha"], NAMES) is not None


def test_every_host_that_a_request_names_must_be_ours() -> None:
    assert why_not({}, ["alpha", "evil.example"], NAMES) is not None
    assert why_not({}, [], NAMES) is None
