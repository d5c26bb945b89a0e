"""Arguments, then environment, then defaults."""

from __future__ import annotations

from typing import Any

import pytest
from loopback import Fixed

from mddns.base.errors import ConfigError
from mddns.networks.settings import MAX_APEX, Settings
from mddns.networks.static import Static
from mddns.networks.tailscale import Tailscale


def of(environ: dict[str, str] | None = None, **arguments: Any) -> Settings:
    return Settings.of(environ=environ or {}, **arguments)


def test_the_defaults_are_the_designs() -> None:
    settings = of()
    assert isinstance(settings.network, Tailscale)
    assert (settings.network_name, str(settings.apex), settings.port, settings.timeout) == (
        "tailscale",
        "minidisc.",
        28004,
        1.0,
    )


ENVIRONMENT = {
    "MDDNS_NETWORK": "static:203.0.113.1 static:203.0.113.2",
    "MDDNS_DOMAIN": "env.internal",
    "MDDNS_PORT": "5300",
    "MDDNS_TIMEOUT": "2.5",
    "MDDNS_ADDRESS": "203.0.113.3",
}


def test_the_environment_stands_in_for_arguments() -> None:
    settings = of(ENVIRONMENT)
    assert (settings.network_name, str(settings.apex), settings.port, settings.timeout) == (
        "static:203.0.113.1 static:203.0.113.2",
        "env.internal.",
        5300,
        2.5,
    )
    found = settings.network.read(1.0)
    assert found.me is not None
    assert (found.me.addresses, found.me.port) == (("203.0.113.3",), 5300)
    assert [peer.id for peer in found.peers] == ["203.0.113.1:5300", "203.0.113.2:5300"]


def test_arguments_stand_before_the_environment() -> None:
    settings = of(ENVIRONMENT, network="static:203.0.113.9", domain="x", port=1, timeout=0.5, address="203.0.113.8")
    assert (settings.network_name, str(settings.apex), settings.port, settings.timeout) == (
        "static:203.0.113.9",
        "x.",
        1,
        0.5,
    )
    found = settings.network.read(1.0)
    assert found.me is not None
    assert found.me.addresses == ("203.0.113.8",)


def test_an_empty_variable_is_none() -> None:
    assert of(dict.fromkeys(ENVIRONMENT, "")).port == of().port == 28004
    assert isinstance(of(dict.fromkeys(ENVIRONMENT, "")).network, Tailscale)


def test_a_network_may_be_an_object() -> None:
    network = Fixed(None, ())
    assert of(network=network).network is network
    assert isinstance(of(network=["static:203.0.113.1"]).network, Static)


@pytest.mark.parametrize("domain", ["minidisc", "minidisc.", "MiniDisc.Internal", "a" * 63 + "." + "b" * 55])
def test_a_domain_may_end_in_a_dot_or_not(domain: str) -> None:
    assert str(of(domain=domain).apex) == domain.rstrip(".") + "."
    assert len(of(domain=domain).apex.wire) <= MAX_APEX


@pytest.mark.parametrize(
    ("what", "value", "says"),
    [
        ("domain", ".", "domain"),
        ("domain", "a..b", "domain .*empty label"),
        ("domain", "x" * 64, "domain"),
        ("domain", ".".join(["x" * 30] * 4), "at most 122 octets"),
        ("port", 0, "port '0'"),
        ("port", 65536, "port '65536'"),
        ("port", -1, "port '-1'"),
        ("port", "x", "port 'x'"),
        ("port", "٣", "port"),
        ("port", "9" * 5000, "port"),
        ("timeout", 0, "timeout 0"),
        ("timeout", -1, "timeout -1"),
        ("timeout", 61, "timeout 61"),
        ("timeout", "x", "timeout 'x'"),
        ("timeout", "nan", "timeout 'nan'"),
        ("timeout", "inf", "timeout 'inf'"),
        ("network", "wireguard", "network 'wireguard'"),
        ("address", "alpha", "address 'alpha'"),
    ],
)
def test_what_is_wrong_is_named_as_argument_and_as_variable(what: str, value: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        of(**{what: value})
    if isinstance(value, str):
        variable = f"MDDNS_{what.upper()}"
        with pytest.raises(ConfigError, match=says if what in ("domain", "network", "address") else variable):
            of({variable: value})
