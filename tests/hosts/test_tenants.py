"""Several programs of one host, each with a registry: whoever ends, nobody else's service is ever missing.

The host is asked from another one all the while; what each answer must hold is known from outside, by when
each program was up and when it was ended.
"""

from __future__ import annotations

import os
import random
import signal
import statistics
import sys
import time
from dataclasses import dataclass

import dns.message
import dns.query
import pytest
from bed.asker import LATEST, Asker, faults
from bed.embedded import begin, ports, processor_time
from bed.host import Host
from bed.hosts import Bed
from bed.process import Process, wait_until
from bed.tailnet import Node
from conftest import MakeBed, Measured
from places import TESTS

ROUNDS = int(os.environ.get("MDDNS_TEST_ROUNDS", "50"))
TENANTS = 5


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
        return Program(port, begin(self.host, port))

    def holder(self) -> Program:
        assert wait_until(lambda: sum(each.is_holder for each in self.running) == 1, timeout=5), [
            (each.port, each.process.stdout, each.process.stderr) for each in self.running
        ]
        return next(each for each in self.running if each.is_holder)

    def ports(self) -> set[int]:
        return {each.port for each in self.running}

    def faults(self, asker: Asker) -> list[str]:
        """What was wrong in the answers, by when each program was up and when it had ended."""
        return faults(
            asker.heard,
            lambda heard: {p.port for p in self.programs if p.up < heard.sent and heard.back < p.ended},
            # What the network is told, RD=1, may be as old as its TTL.
            lambda heard: {p.port for p in self.programs if p.gone < heard.sent} if "rd=0" in heard.kind else set(),
        )


@pytest.fixture
def bed(make_bed: MakeBed) -> Bed:
    return make_bed(["alpha", "bravo"])


def answers(bed: Bed, rd: str = "+norec") -> set[int]:
    return ports(bed, rd, "+tcp")


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
    took: list[float] = []
    told = []
    with asker.running():
        for _ in range(ROUNDS):
            event = chance.choice(EVENTS)
            told.append(event.__name__)
            begun = time.monotonic()
            event(fleet, fleet.holder())
            if chance.random() < 0.3:
                kill(fleet, fleet.holder())
            fleet.holder()
            took.append(1000 * (time.monotonic() - begun))
            for program in fleet.programs:
                if program in fleet.running and program.ended < float("inf"):
                    # It was away for a moment, and counts again when it is back.
                    assert wait_until(lambda: fleet.ports() <= answers(bed), timeout=5), (seed, told)
                    fleet.programs.append(Program(program.port, program.process, up=time.monotonic()))
                    fleet.running[fleet.running.index(program)] = fleet.programs[-1]
            fleet.start(TENANTS + 1 - len(fleet.running))
    wrong = fleet.faults(asker)
    lost = [heard for heard in asker.heard if heard.rcode == "none"]
    measured(
        f"tenants, seed {seed}: {ROUNDS} rounds, {len(wrong)} wrong answers; {asker.told()}; another holder after "
        f"{statistics.median(took):.0f} ms (median), {max(took):.0f} ms at most, with what ended the one before"
    )
    assert len(asker.heard) > ROUNDS
    assert not wrong, (seed, told, wrong[:5], [(p.port, p.up, p.ended, p.gone) for p in fleet.programs])
    # At most what a killed holder had in hand: a question, and those that waited for the network.
    assert len(lost) <= 2 * len(told), (seed, told, lost)
    assert answers(bed) == fleet.ports(), (seed, told)
    assert answers(bed, "+rec") == fleet.ports(), (seed, told)


def test_a_holder_that_is_stopped_for_30_seconds(bed: Bed, measured: Measured) -> None:
    """Nobody else is missing meanwhile, also when the next holder is killed; it wakes up as a tenant, and all is
    told once. Nobody spins."""
    fleet = Fleet(bed.host("alpha"))
    fleet.start(TENANTS + 1)
    stopped = fleet.holder()
    asker = Asker(bed.host("bravo"), bed.host("alpha"))
    before = {each.port: processor_time(each.process) for each in fleet.running}
    begun = time.monotonic()
    with asker.running():
        time.sleep(1)
        stopped.ended = time.monotonic()
        stopped.process.signal(signal.SIGSTOP)
        fleet.running.remove(stopped)
        fleet.holder()
        replaced = 1000 * (time.monotonic() - stopped.ended)
        time.sleep(10)
        kill(fleet, fleet.holder())
        fleet.holder()
        time.sleep(max(0.0, stopped.ended + 30 - time.monotonic()))
        stopped.process.signal(signal.SIGCONT)
        woken = time.monotonic()
        fleet.running.append(stopped)
        assert wait_until(lambda: not stopped.is_holder, timeout=5)
        assert wait_until(lambda: answers(bed) == fleet.ports(), timeout=5)
        back = 1000 * (time.monotonic() - woken)
        time.sleep(2)
    share = {
        each.port: (processor_time(each.process) - before[each.port]) / (time.monotonic() - begun)
        for each in fleet.running
    }
    wrong = fleet.faults(asker)
    measured(
        f"stopped for 30 s: {len(wrong)} wrong answers; {asker.told()}; another holder after {replaced:.0f} ms, a "
        f"tenant {back:.0f} ms after it woke; at most {100 * max(share.values()):.1f} % of a processor each"
    )
    assert not wrong, wrong[:5]
    assert sum(each.rcode == "none" for each in asker.heard) <= 2  # what the killed one had in hand
    assert sum(each.is_holder for each in fleet.running) == 1
    assert answers(bed, "+rec") == fleet.ports()
    assert max(share.values()) < 0.3, share


def test_the_same_where_there_is_ipv6_alone(make_bed: MakeBed, measured: Measured) -> None:
    """Every way in which a holder ends, once."""
    bed = make_bed([Node("alpha", families=(6,)), Node("bravo", families=(6,))])
    if not bed.namespaces:
        pytest.skip("loopback has a single IPv6 address")
    fleet = Fleet(bed.host("alpha"))
    fleet.start(3)
    asker = Asker(bed.host("bravo"), bed.host("alpha"))
    with asker.running():
        for event in (kill, close, fork):
            event(fleet, fleet.holder())
            fleet.start(1)
        for away in (stop, starve):
            away(fleet, fleet.holder())
            assert wait_until(lambda: answers(bed) == fleet.ports(), timeout=5)
    wrong = fleet.faults(asker)
    measured(f"IPv6 alone: {len(wrong)} wrong answers; {asker.told()}")
    assert not wrong, wrong[:5]
    for rd in ("+norec", "+rec"):
        assert answers(bed, rd) == fleet.ports()
    assert bed.host("bravo").run(["md", "find", "web"]).stdout.startswith("[fd7a:")


def test_holders_that_close_answer_all_that_was_asked(bed: Bed, measured: Measured) -> None:
    """Not only is no answer wrong: nothing is unanswered, and no connection cut."""
    fleet = Fleet(bed.host("alpha"))
    fleet.start(3)
    asker = Asker(bed.host("bravo"), bed.host("alpha"))
    with asker.running():
        for _ in range(15):
            close(fleet, fleet.holder())
            fleet.start(1)
    wrong = fleet.faults(asker)
    measured(f"15 holders that close, one after the other: {len(wrong)} wrong answers; {asker.told()}")
    assert not wrong, wrong[:5]
    assert all(each.answered for each in asker.heard), [each for each in asker.heard if not each.answered]


def test_a_question_on_a_connection_that_its_holder_had_taken_is_answered_by_it(bed: Bed) -> None:
    """Though another one holds already when it comes."""
    fleet = Fleet(bed.host("alpha"))
    fleet.start(2)
    first = fleet.holder()
    with bed.host("bravo").connect_tcp(bed.host("alpha").addresses[0], timeout=LATEST) as sock:
        assert ports(bed, "+norec", "+tcp") == fleet.ports()  # was taken after ours
        first.process.signal(signal.SIGTERM)
        fleet.running.remove(first)
        fleet.holder()
        dns.query.send_tcp(sock, dns.message.make_query("web.minidisc", "SRV"))
        reply, _ = dns.query.receive_tcp(sock, time.monotonic() + LATEST)
    assert fleet.ports() <= {record.port for rrset in reply.answer for record in rrset}


def test_20_programs_started_at_once_have_one_holder(bed: Bed, measured: Measured) -> None:
    fleet = Fleet(bed.host("alpha"))
    begun = time.monotonic()
    fleet.start(20)
    assert wait_until(lambda: answers(bed) == fleet.ports(), timeout=10)
    measured(f"20 programs at once: all answered {time.monotonic() - begun:.1f} s after the first was started")
    assert sum(each.is_holder for each in fleet.running) == 1


@pytest.mark.quick
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


def test_a_tenant_that_is_killed_with_the_holder_is_gone_at_once_too(bed: Bed, measured: Measured) -> None:
    """The next holder need not wait for it to register anew."""
    fleet = Fleet(bed.host("alpha"))
    fleet.start(5)
    took = []
    for _ in range(2):
        holder = fleet.holder()
        tenant = next(each for each in fleet.running if each is not holder)
        begun = time.monotonic()
        for victim in (holder, tenant):
            victim.process.signal(signal.SIGKILL)
            fleet.running.remove(victim)
        assert wait_until(lambda: answers(bed) == fleet.ports(), timeout=5)
        took.append(1000 * (time.monotonic() - begun))
        fleet.start(2)
    measured(f"a holder and a tenant killed together were gone after {max(took):.0f} ms at most, dig included")
    assert max(took) <= 500


def test_who_wakes_up_behind_a_holder_that_is_stopped_does_not_tell_what_was_so_before(bed: Bed) -> None:
    """It takes over, as nobody else can; what the other one has told meanwhile it does not know."""
    alpha = bed.host("alpha")
    code = {"PYTHONPATH": str(TESTS)}
    programs = []
    for port in ("9000", "9001"):
        programs.append(alpha.start([sys.executable, "-m", "bed.changer", port, "1", "0"], env=code))
        programs[-1].wait_for("up", timeout=20)
    first, second = programs
    first.signal(signal.SIGSTOP)
    assert wait_until(lambda: answers(bed) == {9000, 9001}, timeout=5)  # without the second nobody would answer
    time.sleep(1.0)  # as for two holders that end in a row, what was known a moment ago counts
    second.signal(signal.SIGUSR1)
    second.wait_for("done")
    second.signal(signal.SIGSTOP)
    first.signal(signal.SIGCONT)
    assert next(filter(None, (ports(bed) for _ in range(10)))) == {9000}
    second.signal(signal.SIGCONT)
    assert wait_until(lambda: answers(bed) == {9000, 9001}, timeout=5)


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


@pytest.mark.quick
def test_md_advertise_twice_on_one_host(bed: Bed) -> None:
    alpha = bed.host("alpha")
    alpha.start(["md", "advertise", "web", ":8080"]).wait_for("advertised")
    alpha.start(["md", "advertise", "db", ":5432"]).wait_for("advertised")
    done = bed.host("bravo").run(["md", "list", "-o", "name"])
    assert done.stdout.split() == [f"{alpha.ipv4}:5432", f"{alpha.ipv4}:8080"]


@pytest.mark.quick
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
    alpha.tailscaled.ring()
    bravo = bed.host("bravo")
    found = wait_until(
        lambda: bravo.run(["md", "list", "-o", "name"]).stdout.split() == ["100.64.9.9:80"] * 2, timeout=15
    )
    assert found, bravo.run(["md", "list"])
