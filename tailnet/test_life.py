"""charlie leaves and joins the tailnet while its registry runs: the registry needs no restart."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from bed.process import Process, wait_until

from .likeness import check_likeness
from .looking import doctor, md, offer, seen, udp, until_seen, until_unseen
from .machine import Machine
from .net import RealTailnet

WEB = "100.64.0.1:8080"


@pytest.fixture(scope="module")
def registry(net: RealTailnet, whole: None) -> Iterator[Process]:
    with ExitStack() as stack:
        stack.enter_context(offer(net["alpha"], "web", ":8080"))
        yield stack.enter_context(offer(net["charlie"], "www", ":80"))


@pytest.fixture
def charlie(net: RealTailnet, registry: Process) -> Machine:
    """charlie, whose service all nodes find."""
    net.together()
    until_seen(net["delta"], WEB, where(net["charlie"]))
    until_seen(net["charlie"], WEB, where(net["charlie"]))
    return net["charlie"]


def where(node: Machine) -> str:
    return f"{node.ipv4}:80"


def lost(node: Machine, why: str) -> None:
    """Checks that `md` on the node says why, and that it could not query the network."""
    done = md(node, "list")
    assert (done.returncode, why in done.stderr) == (3, True), done.stderr


def test_a_node_whose_key_expires_is_not_asked_and_may_come_back(net: RealTailnet, charlie: Machine) -> None:
    net.control.ask("nodes", "expire", "--identifier", net.control.node("charlie"))
    net["delta"].wait_for_peer("charlie", Expired=True)
    charlie.wait_for_state("NeedsLogin")
    check_likeness(charlie)
    check_likeness(net["delta"])
    # Its addresses and its tunnel device stay, but there is no route to it any more.
    assert charlie.status()["TailscaleIPs"] == list(charlie.addresses)
    assert udp(net["delta"], charlie.ipv4) == "ENETUNREACH"
    listed = md(net["delta"], "list", "-o", "name")
    assert (listed.returncode, listed.stdout.split(), listed.stderr) == (0, [WEB], "")
    lost(charlie, "Tailscale is logged out: run 'tailscale up' and log in")
    # The message names the flags to use: tailscale wants all flags that were given before.
    with charlie.start([charlie.command, "up"]) as up:
        _, *flags = up.wait_for("tailscale up --", 20).split()
    with charlie.start([charlie.command, *flags]) as up:
        up.wait_for("https://control.example/register/", 20)

    charlie.login(net.control.key(), "--force-reauth")
    until_seen(net["delta"], WEB, where(charlie))
    until_seen(charlie, WEB, where(charlie))


def test_a_node_that_logs_out_and_in_again_is_found_again(
    net: RealTailnet, charlie: Machine, registry: Process
) -> None:
    charlie.tailscale("logout")
    charlie.wait_for_state("NeedsLogin")
    check_likeness(charlie, peers=False)
    assert charlie.status()["TailscaleIPs"] is None
    lost(charlie, "Tailscale is logged out: run 'tailscale up' and log in")
    until_unseen(net["delta"], where(charlie))
    registry.wait_for("the network is lost: Tailscale is logged out", 40)

    charlie.login(net.control.key())
    until_seen(net["delta"], WEB, where(charlie))
    registry.wait_for("the network is back", 40)


def test_a_stopped_node_says_so(net: RealTailnet, charlie: Machine) -> None:
    charlie.tailscale("down")
    charlie.wait_for_state("Stopped")
    check_likeness(charlie)
    lost(charlie, "Tailscale is stopped: run 'tailscale up'")
    charlie.tailscale("up")
    charlie.wait_for_state("Running")
    until_seen(net["delta"], WEB, where(charlie))


def test_tailscaled_killed_takes_the_addresses_and_brings_them_back(net: RealTailnet, charlie: Machine) -> None:
    charlie.down(signal.SIGKILL)
    assert charlie.run(["ip", "-brief", "address", "show", "dev", "tailscale0"]).returncode != 0
    lost(
        charlie,
        "tailscaled is not running: no program listens at its socket /var/run/tailscale/tailscaled.sock. "
        "Start Tailscale",
    )
    listed = md(net["delta"], "list", "-o", "name")
    assert (listed.returncode, listed.stdout.split()) == (0, [WEB])
    assert "silent: charlie" in listed.stderr
    # The doctor reports only tailscaled, and does not advise to end the registry that waits for it.
    found = doctor(charlie)
    assert found["tailscaled"]["state"] == "fail"
    assert (found["port"]["state"], found["port"]["fix"]) == ("ok", None)

    net.start("charlie")
    charlie.wait_for_state("Running")
    until_seen(net["delta"], WEB, where(charlie))
    until_seen(charlie, WEB, where(charlie))


def test_tailscaled_ended_and_started_is_the_same(net: RealTailnet, charlie: Machine) -> None:
    charlie.down(signal.SIGTERM)
    assert charlie.run(["cat", "/etc/resolv.conf"]).stdout == "", "tailscaled puts back what was there"
    net.start("charlie")
    charlie.wait_for_state("Running")
    until_seen(net["delta"], WEB, where(charlie))


def test_a_node_that_is_given_other_addresses_answers_there(net: RealTailnet, charlie: Machine) -> None:
    before = where(charlie)
    net.control.readdress("charlie", "100.64.7.7", "fd7a:115c:a1e0::77")
    assert wait_until(lambda: charlie.status()["TailscaleIPs"] == ["100.64.7.7", "fd7a:115c:a1e0::77"], 30)
    charlie.learn()
    until_seen(net["delta"], WEB, "100.64.7.7:80")
    until_seen(net["alpha"], WEB, "100.64.7.7:80")
    until_unseen(net["delta"], before)


def test_a_deleted_node_comes_back_as_another(net: RealTailnet, charlie: Machine) -> None:
    before = where(charlie)
    net.control.ask("nodes", "delete", "--identifier", net.control.node("charlie"))
    assert wait_until(lambda: net["delta"].peer("charlie") is None, 20)
    until_unseen(net["delta"], before)
    # Its tailscaled continues as before until it is logged out.
    assert charlie.status()["BackendState"] == "Running"
    charlie.tailscale("logout")
    charlie.login(net.control.key())
    assert where(charlie) != before
    until_seen(net["delta"], WEB, where(charlie))
    assert before not in seen(net["delta"])
