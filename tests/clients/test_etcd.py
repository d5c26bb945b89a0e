"""etcd by `--discovery-srv`: its servers find each other by an alias, and etcdctl finds them by another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from bed.dig import need
from bed.hosts import Bed, Host
from bed.process import Process
from bed.resolvconf import resolv_conf
from conftest import MakeBed, Measured
from real_clients import RESOLV_CONF, configuration, forward, placed, seconds_until, version_of

pytestmark = pytest.mark.namespaces

SERVERS = ("alpha", "bravo", "charlie")


@pytest.fixture
def bed(make_bed: MakeBed) -> Iterator[Bed]:
    """Each of three says that it has etcd, and all forward; nobody runs it yet."""
    need("etcd")
    need("etcdctl")
    bed = make_bed([*SERVERS, "desk"])
    with ExitStack() as files:
        for host in bed.hosts:
            files.enter_context(resolv_conf(host, RESOLV_CONF))
        for name in SERVERS:
            host = bed.host(name)
            file = placed(host, "etcd.yaml", configuration("etcd.yaml"))
            host.start(["md", "advertise", file]).wait_for("advertised", timeout=15)
        for host in bed.hosts:
            forward(host)
            seconds_until(lambda at=host: found(at, "etcd-server-ssl") == set(SERVERS), 20)
        yield bed


def etcd(host: Host) -> Process:
    """That host's server: on alpha with the very file, elsewhere with its own name and address in it."""
    text = configuration("etcd.default").replace("alpha", host.name).replace("100.64.0.1", host.ipv4)
    lines = [line.partition("=") for line in text.splitlines() if not line.startswith("#")]
    return host.start(["etcd", f"--data-dir={host.directory / 'data'}"], {name: value for name, _, value in lines})


def ctl(host: Host, *argv: str) -> list[str]:
    """What etcdctl prints, in lines."""
    argv = ("etcdctl", "--discovery-srv=etcd.minidisc", "--command-timeout=2s", *argv)
    return host.run(argv, timeout=15).stdout.splitlines()


def found(host: Host, alias: str) -> set[str]:
    """The hosts that an alias has there."""
    done = host.run(["dig", "+short", "SRV", f"_{alias}._tcp.etcd.minidisc"])
    return {line.split()[3].split("-")[0] for line in done.stdout.splitlines()}


def test_members_find_each_other_and_etcdctl_those_that_run(bed: Bed, measured: Measured) -> None:
    desk = bed.host("desk")
    servers = {name: etcd(bed.host(name)) for name in SERVERS}
    took = seconds_until(lambda: ctl(desk, "put", "colour", "green") == ["OK"], 40)
    measured(f"etcd {version_of(desk, 'etcd', '--version')}: put through etcdctl {took:.1f} s after three were started")
    assert ctl(desk, "get", "colour") == ["colour", "green"]
    members = sorted(line.split(", ")[2] for line in ctl(desk, "member", "list"))
    assert members == sorted(SERVERS)

    seconds_until(lambda: found(desk, "etcd-client") == set(SERVERS), 20)
    servers["alpha"].terminate()
    took = seconds_until(lambda: found(desk, "etcd-client") == {"bravo", "charlie"}, 20)
    measured(f"etcd: etcdctl no longer asks a server that ended after {took:.1f} s")
    assert [ctl(desk, "get", "colour") for _ in range(4)] == [["colour", "green"]] * 4
    etcd(bed.host("alpha"))
    took = seconds_until(lambda: found(desk, "etcd-client") == set(SERVERS), 20)
    measured(f"etcd: one that comes back is asked after {took:.1f} s")
