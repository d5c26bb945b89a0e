"""What went wrong in Minidisc does not here: a test for each of its defects, most of them from outside.

The numbers are those of the list that we keep. 2, 4 and 9 are about delegates over HTTP and have a file of their
own; 3 and 10 are how lookups ask (``test_lookup``, ``test_hosts_md``). Each docstring names the guard without
which the test fails.
"""

from __future__ import annotations

import ast
import json
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from bed.dig import dig
from bed.hosts import DEVICE
from bed.process import wait_until
from bed.tailnet import Node
from conftest import MakeBed
from loopback import address, answers, free_port
from program import World

import mddns
from mddns.base.errors import PortInUse
from mddns.base.model import Peer
from mddns.host.unix_socket import channel_path

PACKAGE = Path(mddns.__file__).parent


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as world:
        yield world


def listed(world: World) -> set[str]:
    """The names that somebody who has nothing to do with it finds."""
    done = world.md("list", "-o", "json")
    return {each["name"] for each in json.loads(done.stdout)}


# 1: when the leader died, all delegates but one were lost for ever


def test_1_no_program_is_orphaned_when_the_one_that_answers_dies(world: World) -> None:
    """Guard: a tenant takes over, or registers with the next holder (`Role._find_place`)."""
    names = [f"s{number}" for number in range(5)]
    running = {}
    for number, name in enumerate(names):
        running[name] = world.start("advertise", name, f":{9000 + number}", node="alpha")
        running[name].wait_for("advertised")
    for name in names[:3]:
        running.pop(name).kill()
        assert wait_until(lambda: listed(world) == set(running), 10), listed(world)
        time.sleep(0.6)  # what a new holder does not hear of again is withdrawn after a second
        assert listed(world) == set(running)


# 5: start_registry hung for ever where a foreign program had the port


@pytest.fixture
def place() -> Peer:
    return Peer("alpha", (address(),), free_port())


def start(place: Peer, **more: float) -> mddns.Registry:
    return mddns.start_registry(f"static:{place.addresses[0]}:{place.port}", port=place.port, **more)


def test_5_a_foreign_program_on_udp_is_an_error_and_leaves_nothing(place: Peer) -> None:
    """Guard: `Role.take` gives up after JOIN_WITHIN."""
    before = threading.active_count()
    with socket.socket(type=socket.SOCK_DGRAM) as hog:
        hog.bind((place.addresses[0], place.port))
        with pytest.raises(PortInUse, match=r"in use by another program \(pid \d+"):
            start(place)
    assert threading.active_count() == before
    start(place).close()


def test_5_a_foreign_program_on_tcp_keeps_nobody_from_answering_over_udp(place: Peer) -> None:
    """Guard: `Role.also_at` goes on without what it cannot bind, and takes it when it is free."""
    with socket.socket() as hog:
        hog.bind((place.addresses[0], place.port))
        hog.listen()
        registry = start(place)
        registry.advertise_service(80, "web")
        assert len(answers(place, "web SRV")) == 1
    with registry:
        assert len(answers(place, "web SRV")) == 1


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the name of the Unix socket is Linux's")
def test_5_who_accepts_our_tenants_and_says_nothing_holds_nobody_up(
    place: Peer, caplog: pytest.LogCaptureFixture
) -> None:
    """Guard: a tenant that is not welcomed within WELCOME_WITHIN goes away again, and stands by."""
    with socket.socket(type=socket.SOCK_DGRAM) as hog, socket.socket(socket.AF_UNIX) as silent:
        hog.bind((place.addresses[0], place.port))
        silent.bind(channel_path(place.addresses[0], place.port))
        silent.listen()
        start(place).close()
    assert any("does not let this process in" in record.message for record in caplog.records)


# 6: the library ended its host program


def test_6_whatever_cannot_be_bound_the_program_lives_on(place: Peer) -> None:
    """Guard: what goes wrong is an Error, and nothing in the library ends a process."""
    nowhere = "203.0.113.77"  # no address of this machine
    code = f"""
import mddns
def attempt(what, **more):
    try:
        mddns.start_registry(**more).close()
    except mddns.Error as error:
        print(what, type(error).__name__)
attempt("no such address", network="static:{nowhere}", address="{nowhere}")
attempt("not on the network", network="static:{nowhere}")
attempt("no Tailscale", network="tailscale")
attempt("no such port", network="static:{place.addresses[0]}", port=99999)
print("alive")
mddns.start_registry("static:{place.addresses[0]}:{place.port}", port={place.port}).close()
print("and well")
"""
    env = {"TS_SOCKET": "/nowhere", "PATH": "/usr/bin"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "no such address NetworkError",
        "not on the network NetworkError",
        "no Tailscale TailscaleError",
        "no such port ConfigError",
        "alive",
        "and well",
    ]


def test_6_without_descriptors_the_program_lives_on(place: Peer) -> None:
    """Guard: as above; a registry that cannot open its sockets says so as an Error."""
    code = f"""
import os, mddns.node, mddns.sync
held = []
try:
    while True:
        held.append(os.open(os.devnull, os.O_RDONLY))
except OSError:
    for number in held[-4:]:  # enough for a thread's event loop, and for no socket behind it
        os.close(number)
try:
    mddns.start_registry("static:{place.addresses[0]}:{place.port}", port={place.port})
except OSError as error:
    print(error)
print("alive")
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=30,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32)),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "alive"


def _is_zero(args: list[ast.expr]) -> bool:
    return len(args) == 1 and isinstance(args[0], ast.Constant) and args[0].value == 0


def test_6_nothing_in_the_library_ends_a_process_or_takes_its_signals() -> None:
    """Guard: this one; `md` alone may."""
    found = []
    for path in PACKAGE.rglob("*.py"):
        if path.relative_to(PACKAGE).parts[0] in ("cli", "__main__.py"):
            continue
        tree = ast.parse(path.read_text())
        # Signal 0 asks whether a process is there, and does nothing to it.
        asks = {id(each.func) for each in ast.walk(tree) if isinstance(each, ast.Call) and _is_zero(each.args[-1:])}
        for node in ast.walk(tree):
            if id(node) in asks:
                continue
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                name = f"{node.value.id}.{node.attr}"
                if name in ("sys.exit", "os._exit", "os.abort", "os.kill", "signal.signal", "signal.set_wakeup_fd"):
                    found.append(f"{path.name}:{node.lineno}: {name}")
            elif isinstance(node, ast.Name) and node.id in ("exit", "quit", "SystemExit"):
                found.append(f"{path.name}:{node.lineno}: {node.id}")
    assert found == []


# 7: 100.0.0.0/8 was the network, IPv6 and other prefixes were not


@pytest.mark.namespaces
def test_7_who_belongs_to_the_network_is_told_by_the_network_and_not_by_its_address(make_bed: MakeBed) -> None:
    """Guard: `policy.who_may_ask` takes the nodes' own addresses, whatever their prefixes are."""
    alpha_node = Node("alpha", addresses=("10.77.0.1", "fd12:3456::1"))
    bed = make_bed([alpha_node, Node("bravo", addresses=("10.77.0.2", "fd12:3456::2"))])
    alpha, bravo = bed.hosts
    alpha.start(["md", "advertise", "web", ":80"]).wait_for("advertised")
    for server in alpha.addresses:
        assert dig(bravo, server, "web.minidisc", "SRV", "+rec").rcode == "NOERROR"
    assert bravo.run(["md", "find", "web"]).stdout == "10.77.0.1:80\n"
    # An address within 100.0.0.0/8 that is no node's.
    for host, own in ((alpha, "100.9.9.1"), (bravo, "100.9.9.2")):
        assert host.run(["ip", "address", "add", f"{own}/24", "dev", DEVICE]).returncode == 0
    assert dig(bravo, alpha.ipv4, "web.minidisc", "SRV", "+rec", "-b", "100.9.9.2").rcode == "REFUSED"


# 8: unlisting a port took remote services of that port along, and a port had one name


def test_8_a_port_may_have_several_names_and_unlisting_it_leaves_others_alone(place: Peer) -> None:
    """Guard: `Registry.unlist` takes what has no address of its own; a key holds the name."""
    other = Peer("", ("203.0.113.5",))
    with start(place) as registry:
        registry.advertise_service(80, "web")
        registry.advertise_service(80, "api")
        registry.advertise_service(80, "syslog", protocol="udp")
        registry.advertise_service(81, "web")
        registry.advertise_remote_service(f"{other.addresses[0]}:80", "db")
        names = {line.split()[-1].split(".")[1] for line in answers(place, "_list PTR")}
        assert names == {"web", "api", "syslog", "db"}
        registry.unlist_service(80)
        left = [line.split()[-1].split(".")[1] for line in answers(place, "_list PTR")]
        assert sorted(left) == ["db", "web"]
        with pytest.raises(KeyError, match="no service of this registry is on port 80"):
            registry.unlist_service(80)


# 11: who was not connected to the control server was invisible


def test_11_a_peer_that_is_called_offline_is_asked_all_the_same(make_bed: MakeBed) -> None:
    """Guard: `online` of a Peer decides nothing (`networks.tailscale._peer`, `asked`)."""
    bed = make_bed(["alpha", Node("bravo", online=False)])
    bed.host("bravo").start(["md", "advertise", "web", ":80"]).wait_for("advertised")
    assert bed.host("alpha").run(["md", "find", "web"]).stdout == f"{bed.host('bravo').ipv4}:80\n"


# 12: the command line


def test_12_finding_nothing_is_exit_code_1(world: World) -> None:
    """Guard: the code that `md find` returns."""
    world.start("advertise", "web", ":80", node="alpha").wait_for("advertised")
    done = world.md("find", "nothing")
    assert (done.returncode, done.stdout) == (1, "")


def test_12_sigterm_withdraws_at_once_and_is_a_good_end(world: World) -> None:
    """Guard: SIGTERM is caught by `md advertise`, which closes its registry."""
    web = world.start("advertise", "web", ":80", node="alpha")
    web.wait_for("advertised")
    assert listed(world) == {"web"}
    assert web.terminate() == 0
    assert listed(world) == set()


def test_12_a_file_is_read_again_on_sighup(world: World, tmp_path: Path) -> None:
    """Guard: SIGHUP is caught by `md advertise`, which reads its file anew."""
    (tmp_path / "s.yaml").write_text("services: [{name: web, address: ':80'}]\n")
    process = world.start("advertise", "s.yaml", node="alpha")
    process.wait_for("advertised")
    (tmp_path / "s.yaml").write_text("services: [{name: db, address: ':5432'}]\n")
    process.signal(signal.SIGHUP)
    process.wait_for("added: db")
    assert listed(world) == {"db"}


def test_12_ts_socket_says_where_tailscaled_is(make_bed: MakeBed) -> None:
    """Guard: `networks.tailscale.socket_path` reads it."""
    alpha = make_bed(["alpha"]).host("alpha")
    alpha.start(["md", "advertise", "web", ":80"]).wait_for("advertised")
    assert alpha.run(["md", "find", "web"], env={"TS_SOCKET": str(alpha.socket)}).returncode == 0
    assert alpha.run(["md", "find", "web"], env={"TS_SOCKET": "/nowhere/else"}).returncode == 3


@pytest.mark.namespaces
def test_12_our_own_address_is_not_frozen_at_the_start(make_bed: MakeBed) -> None:
    """Guard: `following.Follower` reads the network again, and `Node._keep_place` goes along."""
    alpha = make_bed(["alpha"]).host("alpha")
    alpha.start(["md", "advertise", "web", ":80"]).wait_for("advertised")
    assert alpha.run(["ip", "address", "add", "100.64.9.9/10", "dev", DEVICE]).returncode == 0
    alpha.node.addresses = ("100.64.9.9",)
    alpha.tailscaled.ring()
    assert wait_until(lambda: alpha.run(["md", "find", "web"]).stdout == "100.64.9.9:80\n", 15)


def test_12_before_tailscale_is_up_it_is_waited_for(make_bed: MakeBed) -> None:
    """Guard: `cli.waiting`."""
    alpha = make_bed(["alpha"]).host("alpha")
    alpha.tailscaled.mode = "no-state"
    process = alpha.start(["md", "advertise", "web", ":80"])
    process.wait_for("waiting for Tailscale: Tailscale is starting")
    alpha.tailscaled.mode = "ok"
    process.wait_for("advertised", timeout=10)


def test_12_who_is_a_tenant_says_so(world: World) -> None:
    """Guard: what `Node.open` logs; Minidisc's delegates said that they were leaders."""
    first = world.start("advertise", "-v", "web", ":80", node="alpha")
    first.wait_for("md: this process answers for the host")
    second = world.start("advertise", "-v", "db", ":81", node="alpha")
    second.wait_for("md: another process answers for the host")
    assert "this process answers" not in second.stderr
