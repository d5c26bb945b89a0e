"""Health checks as people write them, and every slip named."""

from __future__ import annotations

import pytest

from mddns.base.errors import ConfigError, InvalidService
from mddns.base.health_check import Check
from mddns.base.offer import make
from mddns.files.yaml_file import read_config


def in_a_file(check: str) -> Check | None:
    """What `check` says in block style, from column 6 on."""
    (offer,) = read_config(f"services:\n  - name: web\n    address: :8080\n    check: {check}\n", "my.yaml")
    return offer.check


@pytest.mark.parametrize(
    ("told", "check"),
    [
        ("tcp", Check()),
        ("/healthz?full=1", Check("/healthz?full=1")),
        ({"tcp": True, "port": 9090}, Check(port=9090)),
        ({"tcp": "true", "interval": "500ms"}, Check(interval=0.5)),
        ({"http": "/", "status": 204, "text": "ok", "timeout": 3}, Check("/", 204, "ok", timeout=3.0)),
        ({"http": "/", "up": "2", "down": 3, "interval": "1m"}, Check("/", interval=60.0, up=2, down=3)),
        (Check("/", 204, "ok", 9090, 1.0, 0.5, 2, 3), Check("/", 204, "ok", 9090, 1.0, 0.5, 2, 3)),
    ],
)
def test_a_check_is_read(told: Check | str | dict[str, object], check: Check) -> None:
    assert Check.of(told) == check


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ("healthz", "begins with '/'"),
        ("/a b", "begins with '/'"),
        ("http://x/", "begins with '/'"),
        ("", "begins with '/'"),
        (7, "or a mapping"),
        ({}, "either 'tcp: true' or 'http: /path'"),
        ({"tcp": True, "http": "/"}, "either 'tcp: true' or 'http: /path'"),
        ({"tcp": 8080}, "to check another port, add 'port:'"),
        ({"tcp": True, "status": 200}, "'status' is only allowed with 'http: /path'"),
        ({"http": "/", "state": 200}, "unknown key 'state'"),
        ({"http": "/", "status": 99}, "from 100 to 599"),
        ({"http": "/", "text": ""}, "1 to 1024 characters"),
        ({"http": "/", "port": 0}, "from 1 to 65535"),
        ({"http": "/", "interval": "0"}, "100ms to 60m"),
        ({"http": "/", "interval": "2 h"}, "100ms to 60m"),
        ({"http": "/", "timeout": True}, "100ms to 60m"),
        ({"http": "/", "up": 0}, "from 1 to 100"),
        ({"http": "/", "down": "two"}, "from 1 to 100"),
        (Check("/", up=0), "from 1 to 100"),
    ],
)
def test_what_is_no_check_is_refused(told: object, says: str) -> None:
    with pytest.raises(InvalidService, match=says.replace("'", ".")):
        Check.of(told)  # type: ignore[arg-type]


def test_a_udp_service_says_which_port_is_asked() -> None:
    with pytest.raises(InvalidService, match="'port:'"):
        make(53, "dns", protocol="udp", check="tcp")
    assert make(53, "dns", protocol="udp", check={"tcp": True, "port": 53}).check == Check(port=53)


@pytest.mark.parametrize(
    ("text", "check"),
    [
        ("tcp", Check()),
        ("/healthz", Check("/healthz")),
        ("null", None),
        ("{http: /, status: 200, interval: 1.5s}", Check("/", 200, interval=1.5)),
    ],
)
def test_a_file_says_it(text: str, check: Check | None) -> None:
    assert in_a_file(text) == check


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("tpc", "my.yaml:4: services[0].check: check 'tpc'"),
        ("{htp: /}", "my.yaml:4: services[0].check.htp: unknown key; did you mean 'http'?"),
        ("[tcp]", "my.yaml:4: services[0].check: must be text"),
        ("\n      http: /\n      interval: soon", "my.yaml:6: services[0].check.interval: check: interval 'soon'"),
        ("\n      http: /\n      up: [1]", "my.yaml:6: services[0].check.up: must be text"),
    ],
)
def test_a_file_that_says_it_wrongly_is_told_line_and_key(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        in_a_file(text)
    assert str(caught.value).startswith(says)
