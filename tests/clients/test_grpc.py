"""grpcio calls a service by name, round robin over its instances: docs/clients/grpc_client.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from bed.hosts import Bed, Host
from bed.process import Process, wait_until
from bed.resolvconf import resolv_conf
from conftest import MakeBed, Measured
from places import TESTS
from real_clients import HOSTS, RESOLV_CONF, configuration, forward, hosts_in, placed, seconds_until, version_of

pytestmark = pytest.mark.namespaces


@pytest.fixture(scope="module")
def bed(make_module_bed: MakeBed) -> Iterator[Bed]:
    """desk forwards."""
    bed = make_module_bed(HOSTS)
    with resolv_conf(bed.host("desk"), RESOLV_CONF):
        forward(bed.host("desk"))
        yield bed


def serve(host: Host, name: str, port: int = 50051, age: str = "") -> Process:
    """A service that says which host it is on."""
    served = ["python", "-m", "bed.greeter", host.ipv4, str(port), host.name, *age.split()]
    env = {"PYTHONPATH": str(TESTS)}
    process = host.start(["md", "run", name, f":{port}", "--", *served], env=env)
    process.wait_for("advertised", 20)
    return process


def call(bed: Bed, name: str, *hosts: str) -> Process:
    """The client, which calls it over and over; started when these hosts are known, as it asks once."""
    desk = bed.host("desk")
    look = ["getent", "ahostsv4", f"{name}.minidisc"]
    assert wait_until(lambda: hosts_in(bed, desk.run(look).stdout) == {*hosts}, 10)
    client = placed(desk, "grpc_client.py", configuration("grpc_client.py"))
    return desk.start(["python", client, f"{name}.minidisc:50051", "/Greeter/Who"])


def lately(process: Process) -> set[str]:
    """Who answered the last six calls."""
    return set(process.stdout.split()[-6:])


def test_calls_go_to_each_instance_and_to_those_that_are_left(bed: Bed, measured: Measured) -> None:
    alpha, bravo = bed.host("alpha"), bed.host("bravo")
    with serve(alpha, "greeter") as first, serve(bravo, "greeter"), call(bed, "greeter", "alpha", "bravo") as client:
        seconds_until(lambda: lately(client) == {"alpha", "bravo"}, 20)
        first.terminate()
        took = seconds_until(lambda: lately(client) == {"bravo"}, 15)
        assert client.returncode is None, client.stderr  # no call has failed
        version = version_of(bed.host("desk"), "python", "-c", "import grpc; print(grpc.__version__)")
        measured(f"grpcio {version}: the last six calls went to those that are left {took:.1f} s after one left")


def test_who_joins_is_called_once_a_connection_ends(bed: Bed, measured: Measured) -> None:
    """gRPC asks again only then: a server has an age at which it ends connections."""
    with serve(bed.host("alpha"), "aged", age="1"), call(bed, "aged", "alpha") as client:
        seconds_until(lambda: lately(client) == {"alpha"}, 20)
        with serve(bed.host("bravo"), "aged", age="1"):
            took = seconds_until(lambda: lately(client) == {"alpha", "bravo"}, 20)
            assert client.returncode is None, client.stderr
    measured(f"grpcio: who joined is called after {took:.1f} s, where connections end after 1 s")


def test_the_port_is_the_one_of_the_target_for_all(bed: Bed) -> None:
    """SRV records are not read: who has another port is not called."""
    alpha, bravo = bed.host("alpha"), bed.host("bravo")
    with serve(alpha, "ports"), serve(bravo, "ports", 50052), call(bed, "ports", "alpha", "bravo") as client:
        assert wait_until(lambda: len(client.stdout.split()) >= 10, 20), client.stderr
        assert set(client.stdout.split()) == {"alpha"}
