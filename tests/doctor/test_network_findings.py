"""What `md doctor` makes of a network's facts."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from docblocks import ROOT, blocks

from mddns import TailscaleError
from mddns.base.model import Peer, Snapshot
from mddns.doctor.finding import FAIL, OK, WARN, Finding
from mddns.doctor.network_findings import (
    Asked,
    Live,
    Port,
    addresses,
    clock,
    grant,
    live,
    network,
    no_network,
    no_tailscaled,
    peers,
    tailscaled,
    versions,
)
from mddns.doctor.network_findings import port as port_of

ME = Peer("alpha", ("100.64.0.1", "fd7a::1"))
BRAVO = Peer("bravo", ("100.64.0.2",))
AWAY = Peer("nas", ("100.64.0.3",), online=False)


def caused(message: str, cause: BaseException | None) -> TailscaleError:
    error = TailscaleError(message)
    error.__cause__ = cause
    return error


# --- tailscaled -------------------------------------------------------------------------------------------------------


def test_a_running_daemon_is_well_and_tells_version_state_and_socket() -> None:
    found = tailscaled("/s.sock", {"Version": "1.102.5", "BackendState": "Running"}, 0.002)
    assert (found.state, found.what) == (OK, "tailscaled 1.102.5 at /s.sock: Running, answered in 2 ms")
    assert found.data == {"socket": "/s.sock", "version": "1.102.5", "state": "Running"}


@pytest.mark.parametrize(
    ("state", "fix"),
    [
        ("Stopped", "sudo tailscale up"),
        ("NeedsLogin", "sudo tailscale up"),
        ("NeedsMachineAuth", "approve this machine at https://login.tailscale.com/admin/machines"),
        ("Starting", "sleep 5; md doctor"),
        (None, "sleep 5; md doctor"),
    ],
)
def test_a_daemon_that_does_not_run_is_told_how_to(state: str | None, fix: str) -> None:
    found = tailscaled("/s.sock", {"BackendState": state}, 0.0)
    assert (found.state, found.fix, found.unasked) == (FAIL, fix, True)


@pytest.mark.parametrize(
    ("error", "fix"),
    [
        (caused("no socket", FileNotFoundError()), "sudo systemctl start tailscaled"),
        (caused("refused", ConnectionRefusedError()), "sudo systemctl restart tailscaled"),
        (caused("may not", PermissionError()), "sudo chmod 0666 /s.sock"),
        (caused("late", TimeoutError()), "sudo systemctl restart tailscaled"),
        (caused("refused this user (403: no)", None), "sudo tailscale set --operator=$USER"),
    ],
    ids=str,
)
def test_a_daemon_that_cannot_be_asked_says_why_and_what_to_do(error: TailscaleError, fix: str) -> None:
    found = no_tailscaled("/s.sock", error)
    assert (found.state, found.what, found.fix, found.unasked) == (FAIL, str(error), fix, True)


def test_a_network_that_cannot_be_read_is_a_failure() -> None:
    found = no_network("static:dns:x", "no such name")
    assert (found.state, found.unasked, bool(found.fix)) == (FAIL, True, True)
    assert network("static", Snapshot(ME, (BRAVO,), "static")).what == "static: 1 other node"


# --- addresses --------------------------------------------------------------------------------------------------------


def test_own_addresses_that_can_be_bound_are_well() -> None:
    found = addresses(Snapshot(ME, ()), {"100.64.0.1": True, "fd7a::1": True})
    assert (found.state, found.what) == (OK, "alpha 100.64.0.1, fd7a::1")


def test_an_address_that_no_device_has_is_a_failure() -> None:
    found = addresses(Snapshot(ME, ()), {"100.64.0.1": True, "fd7a::1": False})
    assert found.state == FAIL
    assert "fd7a::1 cannot be bound" in found.what


def test_userspace_networking_is_told_with_its_limits() -> None:
    found = addresses(Snapshot(ME, (), tun=False), {})
    assert found.state == WARN
    assert "userspace networking" in found.what
    assert "TS_USERSPACE=false" in found.fix


def test_who_is_no_node_can_only_look() -> None:
    assert addresses(Snapshot(None, (BRAVO,)), {}).state == WARN


# --- the port ---------------------------------------------------------------------------------------------------------

OURS = ((7, "md"),)
FOREIGN = ((9, "nc"),)


@pytest.mark.parametrize(
    ("udp", "tcp", "answers", "meets", "state", "what", "fix"),
    [
        (None, None, False, False, OK, "no program holds 100.64.0.1:28004", ""),
        (OURS, OURS, True, True, OK, "a registry answers at 100.64.0.1:28004 (md pid 7)", ""),
        (((7, "md"), (8, "py")), OURS, True, True, OK, "answers at 100.64.0.1:28004 (md pid 7, py pid 8)", ""),
        ((), (), True, True, OK, "a registry answers at 100.64.0.1:28004", ""),
        (OURS, FOREIGN, True, True, WARN, "another program holds TCP (nc pid 9)", "sudo kill 9;"),
        (OURS, OURS, False, True, FAIL, "does not answer", "sudo kill -9 7;"),
        (FOREIGN, None, False, False, FAIL, "another program holds UDP 100.64.0.1:28004 (nc pid 9)", "sudo kill 9;"),
        (None, FOREIGN, False, False, WARN, "another program holds TCP 100.64.0.1:28004 (nc pid 9)", "sudo kill 9;"),
        ((), None, False, False, FAIL, "another program holds UDP", "sudo ss -lntup sport = :28004;"),
    ],
)
def test_the_port_is_ours_somebody_elses_or_nobodys(
    udp: Any, tcp: Any, answers: bool, meets: bool, state: str, what: str, fix: str
) -> None:
    found = port_of(Port("100.64.0.1", 28004, udp, tcp, answers, meets))
    assert found.state == state
    assert what in found.what
    assert found.fix.startswith(fix)
    assert bool(found.fix) == bool(fix)


SHARED = ((7, "md"), (8, "py"), (9, "py"))


def test_the_holder_of_the_port_is_told_from_its_tenants() -> None:
    found = port_of(Port("100.64.0.1", 28004, SHARED, SHARED, True, True, (8, "py")))
    assert "(py pid 8); it answers for 2 tenants too (md pid 7, py pid 9)" in found.what
    assert found.data["holder"] == {"pid": 8, "program": "py"}
    assert [each["pid"] for each in found.data["tenants"]] == [7, 9]


def test_a_holder_that_does_not_answer_is_ended_and_its_tenants_go_on() -> None:
    found = port_of(Port("100.64.0.1", 28004, SHARED, SHARED, False, True, (8, "py")))
    assert found.fix.startswith("sudo kill -9 8;")


def test_who_is_not_root_is_told_the_holder_too() -> None:
    assert "100.64.0.1:28004 (md pid 7)" in port_of(Port("100.64.0.1", 28004, (), (), True, True, (7, "md"))).what


def test_the_ports_owners_are_told_to_programs_too() -> None:
    data = port_of(Port("100.64.0.1", 28004, OURS, None, True, True)).data
    assert (data["udp"], data["tcp"], data["registry"]) == ([{"pid": 7, "program": "md"}], None, True)


# --- peers ------------------------------------------------------------------------------------------------------------


def ask(peer: Peer = BRAVO, outcome: str = "answered", rtt: float | None = 0.001, **more: Any) -> Asked:
    return Asked(peer, outcome, rtt if outcome == "answered" else None, **more)


def judged(*asked: Asked, network: str = "tailscale", tun: bool = True) -> Finding:
    return peers(asked, network, tun)


def test_peers_that_answer_are_told_with_their_round_trips() -> None:
    found = judged(ask(), ask(AWAY, "refused"))
    assert (found.state, found.what) == (OK, "2 queried; 1 answered: bravo 1.0 ms; 1 without a registry: nas")
    assert found.data["answered"][0]["rttMs"] == 1.0


def test_a_peer_that_is_up_and_silent_wants_the_grant() -> None:
    found = judged(ask(), ask(Peer("cut", ("100.64.0.9",)), "silent"))
    assert found.state == WARN
    assert "1 silent: cut" in found.what
    assert grant(28004) in found.fix


def test_a_peer_that_is_offline_owes_nothing_unless_it_was_a_registry() -> None:
    assert judged(ask(), ask(AWAY, "silent")).state == OK
    found = judged(ask(), ask(AWAY, "silent", known=True))
    assert found.state == WARN
    assert "nas (was a registry)" in found.what


def test_where_all_are_silent_the_network_cannot_be_asked() -> None:
    found = judged(ask(BRAVO, "silent"), ask(AWAY, "silent"))
    assert (found.state, found.unasked) == (FAIL, True)


def test_a_refusal_is_an_answer() -> None:
    assert judged(ask(BRAVO, "silent"), ask(AWAY, "refused")).state == WARN


def test_elsewhere_than_on_a_tailnet_there_is_no_policy_but_a_firewall() -> None:
    assert "ufw" in judged(ask(), ask(Peer("x", ("10.0.0.9",)), "silent"), network="static").fix


def test_in_userspace_networking_nobody_blames_the_policy() -> None:
    found = judged(ask(BRAVO, "silent"), tun=False)
    assert (found.state, found.unasked) == (FAIL, True)
    assert "grants" not in found.fix


def test_a_node_alone_is_well() -> None:
    assert judged().state == OK


def test_the_grant_is_the_readmes() -> None:
    (block,) = (b for b in blocks((ROOT / "README.md").read_text("utf-8")) if b.language == "json")
    assert json.loads(grant(28004)) == json.loads(block.text)["grants"][0]
    assert json.loads(grant(53))["ip"] == ["udp:53", "tcp:53"]


# --- versions, the live query, the clock ------------------------------------------------------------------------------


def test_versions_that_are_ours_are_well_and_others_are_named() -> None:
    same, other = ask(version="md.v=1"), ask(AWAY, version="md.v=2")
    assert versions([same], "0.1").state == OK
    found = versions([same, other, ask(Peer("old", ("10.0.0.1",)))], "0.1")
    assert found.state == WARN
    assert "md.v=2: nas" in found.what
    assert "none: old" in found.what


def test_a_live_query_tells_how_many_services_there_are() -> None:
    found = live(Live(BRAVO, "answered", 3, 0.002))
    assert (found.state, found.what) == (OK, "bravo (100.64.0.2:28004) returned 3 services in 2.0 ms")
    assert live(None).state == OK


@pytest.mark.parametrize(
    ("facts", "state"),
    [
        (Live(BRAVO, "silent"), FAIL),
        (Live(BRAVO, "answered", failed=True, errors=("EDE 22",)), FAIL),
        (Live(BRAVO, "answered", 1, errors=("EDE 22: 1 of 2 peers was silent: nas",)), WARN),
    ],
)
def test_a_live_query_without_a_whole_answer_is_told(facts: Live, state: str) -> None:
    found = live(facts)
    assert found.state == state
    assert found.fix.startswith("dig @100.64.0.2 -p 28004")


def test_a_registry_that_waits_for_who_is_silent_is_not_broken() -> None:
    found = live(Live(BRAVO, "silent"), ["nas"])
    assert (found.state, "it waits for the silent nas" in found.what) == (WARN, True)


@pytest.mark.parametrize(
    ("unix", "newest", "state"),
    [
        (1_600_000_000, None, FAIL),
        (1_800_000_000, None, OK),
        (1_800_000_000, (1_800_000_059_000, "x"), OK),
        (1_800_000_000, (1_800_000_075_000, "x"), WARN),
    ],
)
def test_a_clock_is_held_against_2024_and_against_the_newest_service(
    unix: float, newest: tuple[int, str] | None, state: str
) -> None:
    found = clock(unix, newest)
    assert found.state == state
    assert (found.state == WARN) == bool(re.search("75 s behind", found.what))
