"""The test tailnet is isolated: no packet or log leaves it, and the resolver of this machine is unchanged."""

from __future__ import annotations

from pathlib import Path

import pytest

from .looking import tcp, udp
from .net import RealTailnet

NODES = ["alpha", "bravo", "charlie", "delta"]


@pytest.mark.parametrize("name", NODES)
def test_a_node_has_no_way_out(net: RealTailnet, name: str) -> None:
    assert net[name].run(["ip", "route", "show", "default"]).stdout == ""
    assert net[name].run(["ip", "-6", "route", "show", "default"]).stdout == ""
    # RFC 5737: an unused address
    assert (udp(net[name], "203.0.113.1", 53), tcp(net[name], "203.0.113.1", 443)) == ("ENETUNREACH", "ENETUNREACH")


@pytest.mark.parametrize("name", NODES)
def test_a_node_tells_tailscale_nothing(net: RealTailnet, name: str) -> None:
    assert "You have disabled logging" in net[name].daemon.stderr


def test_tailscaled_writes_resolv_conf_of_its_node_alone(net: RealTailnet) -> None:
    assert "nameserver 100.100.100.100" in net["delta"].run(["cat", "/etc/resolv.conf"]).stdout
    assert Path("/etc/resolv.conf").read_bytes() == net.resolv_conf


@pytest.mark.parametrize("name", NODES)
def test_addresses_are_those_of_a_tun_device(net: RealTailnet, name: str) -> None:
    told = net[name].run(["ip", "-brief", "address", "show", "dev", "tailscale0"]).stdout.split()
    assert [f"{net[name].ipv4}/32", f"{net[name].ipv6}/128"] == told[2:4]
    assert net[name].status()["TUN"] is True
