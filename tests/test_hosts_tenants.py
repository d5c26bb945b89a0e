"""Several programs of one host, each with a registry: whoever ends, nobody else's service is ever missing.

The host is asked from another one all the while; what each answer must hold is known from outside, by when
each program was up and when it was ended.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import statistics
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import dns.flags
import dns.message
import dns.rcode
import pytest
from bed.dig import dig
from bed.host import Host
from bed.hosts import Bed
from bed.process import Process, wait_until
from conftest import MakeBed, Measured

ROUNDS = int(os.environ.get("MDDNS_TEST_ROUNDS", "50"))
TENANTS = 5
EVERY = 0.020


@dataclass
class Heard:
    """One question's fate: `ports` of the SRV records, or what went wrong."""

    sent: float
    back: float
    kind: str
    rcode: str
    ports: frozenset[int]


@dataclass
class Asker:
    """Asks one host from another, every 20 ms: RD=0 and RD=1 over UDP, and over TCP."""

    asking: Host
    asked: Host
    heard: list[Heard] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        udp = self.asking.socket_udp(timeout=3)
        turn = 0
        with udp:
            while not self.stop.is_set():
                turn += 1
                rd = turn % 2 == 0
                query = dns.message.make_query("web.minidisc", "SRV", use_edns=0, payload=1232)
                query.flags = dns.flags.RD if rd else 0
                if turn % 5:
                    self._note(f"udp rd={int(rd)}", lambda: self._over_udp(udp, query))  # noqa: B023 - called at once
                else:
                    self._note(f"tcp rd={int(rd)}", lambda: self._over_tcp(query))  # noqa: B023 - called at once
                time.sleep(EVERY)

    def _note(self, kind: str, ask: Callable[[], dns.message.Message]) -> None:
        sent = time.monotonic()
        try:
            reply = ask()
        except OSError as error:
            self.heard.append(Heard(sent, time.monotonic(), kind, type(error).__name__, frozenset()))
            return
        ports = frozenset(record.port for rrset in reply.answer for record in rrset)
        self.heard.append(Heard(sent, time.monotonic(), kind, dns.rcode.to_text(reply.rcode()), ports))

    def _over_udp(self, sock: socket.socket, query: dns.message.Message) -> dns.message.Message:
        sock.sendto(query.to_wire(), (self.asked.ipv4, 28004))
        while True:
            reply = dns.message.from_wire(sock.recv(65535))
            if reply.id == query.id:
                return reply

    def _over_tcp(self, query: dns.message.Message) -> dns.message.Message:
        wire = query.to_wire()
        with self.asking.connect_tcp(self.asked.ipv4, timeout=3) as sock, sock.makefile("rb") as file:
            sock.sendall(len(wire).to_bytes(2, "big") + wire)
            size = file.read(2)
            if len(size) < 2:
                raise ConnectionResetError
            return dns.message.from_wire(file.read(int.from_bytes(size, "big")))


@dataclass
class Program:
    """A program that embeds a registry: when it was up, and when it was ended, stopped or made to hang."""

    port: int
    process: Process
    up: float = 0.0
    ended: float = float("inf")  # it need not be told of from here on
    gone: float = float("inf")  # it must not be told of from here on

    @property
    def is_holder(self) -> bool:
        places = [line for line in self.process.stdout.split() if line in ("holder", "tenant")]
        return places[-1:] == ["holder"]


class Fleet:
    """The programs of one host."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.programs: list[Program] = []
        self.running: list[Program] = []
        self._ports = iter(range(9000, 65000))

    def start(self, count: int) -> None:
        new = [self._begin() for _ in range(count)]
        for program in new:
            program.process.wait_for("up", timeout=20)
            program.up = time.monotonic()
        self.running += new
        self.programs += new

    def _begin(self) -> Program:
        port = next(self._ports)
        environment = {"PYTHONPATH": os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + "/tests"}
        return Program(port, self.host.start([sys.executable, "-m", "bed.program", str(port)], env=environment))

    def holder(self) -> Program:
        assert wait_until(lambda: sum(each.is_holder for each in self.running) == 1, timeout=5), [
            (each.port, each.process.stdout, each.process.stderr) for each in self.running
        ]
        return next(each for each in self.running if each.is_holder)

    def ports(self) -> set[int]:
        return {each.port for each in self.running}


@pytest.fixture
def bed(make_bed: MakeBed) -> Bed:
    return make_bed(["alpha", "bravo"])


def answers(bed: Bed, rd: str = "+norec") -> set[int]:
    reply = dig(bed.host("bravo"), bed.host("alpha").ipv4, "web.minidisc", "SRV", rd, "+tcp")
    return {int(line.split()[4]) for line in reply.answer}


def kill(fleet: Fleet, program: Program) -> None:
    program.ended = time.monotonic()
    program.process.signal(signal.SIGKILL)
    program.gone = time.monotonic() + 0.2
    fleet.running.remove(program)
    program.process.wait()


def close(fleet: Fleet, program: Program) -> None:
    program.ended = time.monotonic()
    program.process.terminate()
    fleet.running.remove(program)
    program.process.wait()
    program.gone = time.monotonic() + 0.2


def stop(fleet: Fleet, program: Program) -> None:
    """Stopped, given up, and dropped; then it wakes up and is a tenant like the others."""
    program.ended = time.monotonic()
    program.process.signal(signal.SIGSTOP)
    fleet.running.remove(program)
    fleet.holder()
    time.sleep(0.2)
    program.process.signal(signal.SIGCONT)
    fleet.running.append(program)
    assert wait_until(lambda: not program.is_holder, timeout=5)


def starve(fleet: Fleet, program: Program) -> None:
    """The program holds the interpreter for 1.5 s: its registry's thread gets no turn."""
    program.ended = time.monotonic()
    program.process.signal(signal.SIGUSR1)
    assert wait_until(lambda: any(p.is_holder for p in fleet.running if p is not program), timeout=5)
    assert wait_until(lambda: not program.is_holder, timeout=5)


def fork(fleet: Fleet, program: Program) -> None:
    """It forks, and then it is killed; its child lives on with what it inherited."""
    program.process.signal(signal.SIGUSR2)
    time.sleep(0.05)
    program.ended = time.monotonic()
    os.kill(program.process.pid, signal.SIGKILL)
    program.gone = time.monotonic() + 0.2
    fleet.running.remove(program)


EVENTS = (kill, kill, close, stop, starve, fork)


def test_whoever_ends_no_survivor_is_ever_missing(bed: Bed, measured: Measured) -> None:
    """Rounds of everything that can happen to a holder, asked all the while. The seed is printed."""
    seed = int(os.environ.get("MDDNS_TEST_SEED", random.randrange(1 << 32)))
    chance = random.Random(seed)
    fleet = Fleet(bed.host("alpha"))
    fleet.start(TENANTS + 1)
    asker = Asker(bed.host("bravo"), bed.host("alpha"))
    thread = threading.Thread(target=asker.run, name="asker")
    thread.start()
    took: list[float] = []
    told = []
    try:
        for _ in range(ROUNDS):
            event = chance.choice(EVENTS)
            told.append(event.__name__)
            begun = time.monotonic()
            event(fleet, fleet.holder())
            if chance.random() < 0.3:
                kill(fleet, fleet.holder())
            fleet.holder()
            took.append(time.monotonic() - begun)
            for program in fleet.programs:
                if program in fleet.running and program.ended < float("inf"):
                    # It was away for a moment, and counts again when it is back.
                    assert wait_until(lambda: fleet.ports() <= answers(bed), timeout=5), (seed, told)
                    fleet.programs.append(Program(program.port, program.process, up=time.monotonic()))
                    fleet.running[fleet.running.index(program)] = fleet.programs[-1]
            fleet.start(TENANTS + 1 - len(fleet.running))
    finally:
        asker.stop.set()
        thread.join()
    wrong = [
        (heard, sorted(missing), sorted(ghosts))
        for heard in asker.heard
        if heard.rcode not in ("TimeoutError", "ConnectionResetError", "ConnectionRefusedError", "BrokenPipeError")
        for missing in [{p.port for p in fleet.programs if p.up < heard.sent and heard.back < p.ended} - heard.ports]
        for ghosts in [
            {p.port for p in fleet.programs if p.gone < heard.sent} & heard.ports if "rd=0" in heard.kind else set()
        ]
        if missing or ghosts or heard.rcode != "NOERROR"
    ]
    lost = [heard for heard in asker.heard if heard.rcode == "TimeoutError"]
    reset = [heard for heard in asker.heard if heard.rcode.startswith("Connection")]
    slow = sorted(1000 * (heard.back - heard.sent) for heard in asker.heard)
    measured(
        f"tenants, seed {seed}: {ROUNDS} rounds, {len(asker.heard)} questions, {len(wrong)} wrong, "
        f"{len(lost)} unanswered, {len(reset)} TCP connections cut; answer p50 {statistics.median(slow):.1f} ms, "
        f"p99 {slow[len(slow) * 99 // 100]:.0f} ms, longest {slow[-1]:.0f} ms; "
        f"another holder after {1000 * statistics.median(took):.0f} ms (median)"
    )
    assert len(asker.heard) > ROUNDS
    assert not wrong, (seed, told, wrong[:5], [(p.port, p.up, p.ended, p.gone) for p in fleet.programs])
    assert len(lost) <= len(told), (seed, told, lost)  # at most the one question that a killed holder had in hand
    assert answers(bed) == fleet.ports(), (seed, told)
    assert answers(bed, "+rec") == fleet.ports(), (seed, told)


def test_20_programs_started_at_once_have_one_holder(bed: Bed, measured: Measured) -> None:
    fleet = Fleet(bed.host("alpha"))
    begun = time.monotonic()
    fleet.start(20)
    assert wait_until(lambda: answers(bed) == fleet.ports(), timeout=10)
    measured(f"20 programs at once: all answered {time.monotonic() - begun:.1f} s after the first was started")
    assert sum(each.is_holder for each in fleet.running) == 1


def test_the_dead_ones_services_are_gone_at_once(bed: Bed, measured: Measured) -> None:
    fleet = Fleet(bed.host("alpha"))
    fleet.start(3)
    took = []
    for _ in range(2):
        victim = fleet.holder()
        begun = time.monotonic()
        kill(fleet, victim)
        assert wait_until(lambda: victim.port not in answers(bed), timeout=5)  # noqa: B023 - called at once
        took.append(time.monotonic() - begun)
        assert answers(bed) == fleet.ports()
    measured(f"a killed holder's services were gone after {1000 * max(took):.0f} ms at most, dig included")


def test_one_endpoint_of_several_processes_lives_while_one_of_them_does(bed: Bed) -> None:
    """As with the workers of a web server that each have a registry."""
    alpha = bed.host("alpha")
    workers = [alpha.start(["md", "advertise", "web", ":8080"]) for _ in range(3)]
    for worker in workers:
        worker.wait_for("advertised", timeout=20)
    assert answers(bed) == {8080}
    for worker in workers[:2]:
        worker.kill()
        worker.wait()
        assert answers(bed) == {8080}
    workers[2].terminate()
    workers[2].wait()
    assert wait_until(lambda: bed.host("bravo").run(["md", "find", "web"]).returncode == 1, timeout=5)


def test_md_advertise_twice_on_one_host(bed: Bed) -> None:
    alpha = bed.host("alpha")
    alpha.start(["md", "advertise", "web", ":8080"]).wait_for("advertised")
    alpha.start(["md", "advertise", "db", ":5432"]).wait_for("advertised")
    done = bed.host("bravo").run(["md", "list", "-o", "name"])
    assert done.stdout.split() == [f"{alpha.ipv4}:5432", f"{alpha.ipv4}:8080"]


def test_a_foreign_program_on_the_port_is_a_clear_error(bed: Bed) -> None:
    alpha = bed.host("alpha")
    with alpha.socket_udp(28004):
        done = alpha.run(["md", "advertise", "web", ":8080"], timeout=10)
    assert done.returncode == 3
    assert f"UDP {alpha.ipv4}:28004 is in use by another program" in done.stderr


def test_whoever_has_the_port_is_named(bed: Bed) -> None:
    alpha = bed.host("alpha")
    hog = (
        "import socket, time; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('', 28004)); time.sleep(60)"
    )
    process = alpha.start([sys.executable, "-c", hog])
    assert wait_until(lambda: "28004" in alpha.run(["ss", "-lun"]).stdout)
    done = alpha.run(["md", "advertise", "web", ":8080"], timeout=10)
    assert f"in use by another program (pid {process.pid}, python" in done.stderr


def test_a_host_whose_address_changes_answers_at_the_new_one(bed: Bed) -> None:
    """Two programs, without a restart; what they offer is found at the new address."""
    if not bed.namespaces:
        pytest.skip("loopback hosts keep their addresses")
    alpha = bed.host("alpha")
    for name in ("web", "db"):
        alpha.start(["md", "advertise", name, ":80"]).wait_for("advertised")
    assert alpha.run(["ip", "address", "add", "100.64.9.9/10", "dev", "tailscale0"]).returncode == 0
    alpha.node.addresses = ("100.64.9.9",)
    bravo = bed.host("bravo")
    found = wait_until(
        lambda: bravo.run(["md", "list", "-o", "name"]).stdout.split() == ["100.64.9.9:80"] * 2, timeout=15
    )
    assert found, bravo.run(["md", "list"])
