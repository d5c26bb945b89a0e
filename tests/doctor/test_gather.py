"""`md doctor` on hosts: what it finds where all is well, and where one thing is not."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bed import netns
from bed.dig import need
from bed.hosts import PORT, Bed, Host
from bed.process import wait_until
from bed.resolvconf import resolv_conf
from bed.tailnet import phone
from conftest import MakeBed, Measured
from program import World, as_nobody

from mddns.directory.peer_memory import Memory
from mddns.doctor import gather
from mddns.doctor.finding import FAIL, Finding
from mddns.doctor.network_findings import grant
from mddns.networks.settings import Settings

Findings = dict[str, dict[str, Any]]


class Examined:
    """What `md doctor -o json` found on a host, by check."""

    def __init__(self, host: Host, *options: str) -> None:
        begun = time.monotonic()
        done = host.run(["md", *options, "doctor", "-o", "json"])
        self.took = time.monotonic() - begun
        assert done.stderr == ""
        found: list[dict[str, Any]] = json.loads(done.stdout)
        self.code = done.returncode
        self.by_check: Findings = {finding["check"]: finding for finding in found}
        # Each check stands once, but that of the port: for each of our addresses where somebody has it.
        others = [finding["check"] for finding in found if finding["check"] != "port"]
        assert len(set(others)) == len(others)
        for finding in found:
            assert set(finding) == {"check", "state", "message", "fix", "data"}
            assert (finding["state"] == "ok") == (finding["fix"] is None), finding

    def __getitem__(self, check: str) -> dict[str, Any]:
        return self.by_check[check]

    def not_ok(self) -> dict[str, str]:
        return {check: each["state"] for check, each in self.by_check.items() if each["state"] != "ok"}


def advertise(host: Host, name: str = "web", port: int = 8080) -> int:
    """Offers a service; the pid of who does."""
    program = host.start(["md", "advertise", name, f":{port}"])
    program.wait_for("advertised")
    return program.pid


def advertise_changed(host: Host, change: str) -> None:
    """The same by a program in which something is different, as Python's sitecustomize makes it."""
    (host.directory / "sitecustomize.py").write_text(change)
    program = host.start(["md", "advertise", "web", ":8080"], env={"PYTHONPATH": str(host.directory)})
    program.wait_for("advertised")


@pytest.fixture(scope="module")
def bed(make_module_bed: MakeBed) -> Iterator[Bed]:
    """alpha and bravo offer, charlie does not; one phone."""
    bed = make_module_bed(["alpha", "bravo", "charlie"], [phone()])
    advertise(bed.host("alpha"))
    advertise(bed.host("bravo"))
    return bed


# --- where all is well ------------------------------------------------------------------------------------------------


@pytest.mark.quick
def test_on_a_healthy_network_nothing_is_wrong_but_what_the_system_resolver_does_not_know(bed: Bed) -> None:
    found = Examined(bed.host("charlie"))
    assert set(found.not_ok()) <= {"resolution"}
    assert found.code == 0
    assert list(found.by_check) == [
        "tailscaled", "addresses", "port", "peers", "versions", "live", "clock", "port53", "resolution", "dnssec",
    ]  # fmt: skip


@pytest.mark.quick
def test_the_peers_are_told_with_their_round_trips_and_the_refusing_one_by_name(bed: Bed) -> None:
    data = Examined(bed.host("alpha"))["peers"]["data"]
    assert [(each["peer"], each["version"]) for each in data["answered"]] == [("bravo", "md.v=1")]
    assert 0 < data["answered"][0]["rttMs"] < 1000
    assert [each["peer"] for each in data["refused"]] == ["charlie"]
    assert (data["silent"], data["asked"]) == ([], 2)  # nobody asks phones


def test_the_live_query_sees_the_whole_network(bed: Bed) -> None:
    # The registry that gets the query may have heard of the other one only now.
    assert wait_until(lambda: Examined(bed.host("charlie"))["live"]["data"]["services"] == 2, 10)


def test_the_holder_of_our_port_is_told_from_its_tenants_and_so_is_the_next(make_bed: MakeBed) -> None:
    alpha = make_bed(["alpha"]).host("alpha")
    pids = [advertise(alpha), advertise(alpha, "db", 5432), advertise(alpha, "mq", 5672)]

    def told() -> tuple[int, set[int]]:
        port = Examined(alpha)["port"]
        assert port["state"] == "ok"
        holder, tenants = port["data"]["holder"]["pid"], {each["pid"] for each in port["data"]["tenants"]}
        assert f"pid {holder}); it answers for {len(tenants)} tenant" in port["message"]
        return holder, tenants

    assert told() == (pids[0], {*pids[1:]})
    os.kill(pids[0], signal.SIGKILL)
    assert wait_until(lambda: Examined(alpha)["port"]["data"]["holder"] is not None)
    holder, tenants = told()
    assert {holder, *tenants} == {*pids[1:]}
    assert told() == (holder, tenants)


def test_nobody_at_the_port_is_no_fault(bed: Bed) -> None:
    port = Examined(bed.host("charlie"))["port"]
    assert (port["state"], port["data"]["udp"], port["data"]["registry"]) == ("ok", None, False)


@pytest.mark.quick
def test_people_get_a_line_a_finding_and_what_mends_it_below(bed: Bed) -> None:
    done = bed.host("alpha").run(["md", "doctor"])
    lines = done.stdout.splitlines()
    assert lines[0].startswith("ok    tailscaled  tailscaled 1.")
    warned = next(n for n, line in enumerate(lines) if line.startswith("warn  resolution"))
    assert lines[warned + 1].strip() == "-> sudo md forward"
    assert "10 checks: 0 failed, 1 with warnings" in done.stderr


# --- where one thing is not -------------------------------------------------------------------------------------------


def test_a_stopped_tailscaled_is_a_failure_with_what_starts_it(make_bed: MakeBed) -> None:
    alpha = make_bed(["alpha"]).host("alpha")
    alpha.tailscaled.stop()
    found = Examined(alpha)
    assert (found["tailscaled"]["state"], found.code) == ("fail", 3)
    assert found["tailscaled"]["fix"] == "sudo systemctl start tailscaled"
    assert {"clock", "port53", "resolution", "dnssec"} <= set(found.by_check)


@pytest.mark.parametrize(
    ("mode", "fix"),
    [
        ("stopped", "sudo tailscale up"),
        ("needs-login", "sudo tailscale up"),
        ("silent", "sudo systemctl restart tailscaled"),
        ("forbidden", "sudo tailscale set --operator=$USER"),
        ("garbage", "sudo systemctl restart tailscaled"),
    ],
)
def test_a_tailscaled_that_is_there_and_no_use_is_told_apart(make_bed: MakeBed, mode: str, fix: str) -> None:
    alpha = make_bed(["alpha"]).host("alpha")
    alpha.tailscaled.mode = mode
    found = Examined(alpha)
    assert (found["tailscaled"]["fix"], found.code) == (fix, 3)


def test_a_foreign_program_on_the_port_is_told_by_pid_and_name(make_bed: MakeBed) -> None:
    alpha = make_bed(["alpha"]).host("alpha")
    script = f"import socket,time; s=socket.socket(type=socket.SOCK_DGRAM); s.bind(('{alpha.ipv4}',{PORT}))"
    foreign = alpha.start([sys.executable, "-c", f"{script}; print('bound', flush=True); time.sleep(60)"])
    foreign.wait_for("bound")
    found = Examined(alpha)
    assert (found["port"]["state"], found.code) == ("fail", 1)
    assert f"pid {foreign.pid}" in found["port"]["message"]
    assert found["port"]["fix"].startswith(f"sudo kill {foreign.pid};")


@pytest.mark.namespaces
def test_a_silent_peer_gets_the_grant_printed(make_bed: MakeBed) -> None:
    bed = make_bed(["alpha", "bravo", "cut"])
    advertise(bed.host("bravo"))
    bed.drop("cut")
    found = Examined(bed.host("alpha"))
    assert (found["peers"]["state"], found.code) == ("warn", 0)
    assert [each["peer"] for each in found["peers"]["data"]["silent"]] == ["cut"]
    assert grant(PORT) in found["peers"]["fix"]


@pytest.mark.namespaces
def test_a_peer_whose_kernel_rations_its_refusals_is_not_taken_for_kept_from_us(make_bed: MakeBed) -> None:
    bed = make_bed(["alpha", "bravo"])
    bed.host("bravo").run(["nft", _NO_ICMP])
    found = Examined(bed.host("alpha"))
    assert [each["peer"] for each in found["peers"]["data"]["refused"]] == ["bravo"]
    assert found["peers"]["state"] == "ok"


_NO_ICMP = (
    "add table inet bed; add chain inet bed out { type filter hook output priority 0; };"
    "add rule inet bed out meta l4proto { icmp, ipv6-icmp } drop"
)


@pytest.mark.namespaces
def test_a_silent_peer_that_was_a_registry_is_remembered_as_one(make_bed: MakeBed) -> None:
    bed = make_bed(["alpha", "bravo"])
    advertise(bed.host("bravo"))
    assert bed.host("alpha").run(["md", "list"]).returncode == 0
    bed.cut("bravo")
    found = Examined(bed.host("alpha"))
    assert "bravo (was a registry)" in found["peers"]["message"]
    assert (found["peers"]["state"], found.code) == ("fail", 3)  # there is nobody else


@pytest.mark.namespaces
def test_a_registry_that_is_stopped_is_told_to_be_ended(make_bed: MakeBed) -> None:
    alpha = make_bed(["alpha"]).host("alpha")
    program = alpha.start(["md", "advertise", "web", ":8080"])
    program.wait_for("advertised")
    program.signal(signal.SIGSTOP)
    found = Examined(alpha)
    assert found["port"]["fix"].startswith(f"sudo kill -9 {program.pid}")


def test_userspace_networking_is_told_with_its_limits_and_its_registry_is_found(make_bed: MakeBed) -> None:
    bed = make_bed(["alpha"])
    bed.tailnet.tun = False
    advertise(bed.host("alpha"))
    found = Examined(bed.host("alpha"))
    assert found["addresses"]["state"] == "warn"
    assert "userspace networking" in found["addresses"]["message"]
    assert (found["port"]["state"], found["port"]["data"]["address"]) == ("ok", "127.0.0.1")
    assert (found["live"]["state"], found["live"]["data"]["services"]) == ("ok", 1)


@pytest.mark.namespaces
def test_an_address_that_no_device_has_is_a_failure(make_bed: MakeBed) -> None:
    alpha = make_bed(["alpha"]).host("alpha")
    alpha.run(["ip", "address", "delete", f"{alpha.ipv6}/64", "dev", "tailscale0"])
    found = Examined(alpha)
    assert (found["addresses"]["state"], found.code) == ("fail", 1)
    assert f"{alpha.ipv6} cannot be bound" in found["addresses"]["message"]
    assert found["addresses"]["fix"] == "ip address; sudo systemctl restart tailscaled"


@pytest.mark.namespaces
def test_an_answer_that_is_not_whole_is_told_with_who_was_silent(make_bed: MakeBed) -> None:
    bed = make_bed(["alpha", "bravo"])
    for name in ("alpha", "bravo"):
        advertise(bed.host(name))
    assert Examined(bed.host("alpha"))["live"]["data"]["services"] == 2
    bed.cut("bravo")
    # What bravo said counts for its TTL.
    assert wait_until(lambda: Examined(bed.host("alpha"))["live"]["state"] != "ok", 15)
    live = Examined(bed.host("alpha"))["live"]
    assert (live["state"], live["fix"].startswith("dig @")) == ("warn", True)
    assert "1 of 1 peer was silent: bravo" in live["message"]


def test_a_clock_that_is_behind_another_registrys_is_told(make_bed: MakeBed) -> None:
    bed = make_bed(["alpha", "bravo"])
    ahead = "import time\nreal = time.time\ntime.time = lambda: real() + 3600\n"
    advertise_changed(bed.host("bravo"), ahead)
    clock = Examined(bed.host("alpha"))["clock"]
    assert (clock["state"], clock["fix"]) == ("warn", "sudo timedatectl set-ntp true, on both machines")
    assert 3500 < clock["data"]["behindSeconds"] <= 3600


def test_a_registry_of_another_version_is_told_by_name(make_bed: MakeBed) -> None:
    bed = make_bed(["alpha", "bravo"])
    advertise_changed(bed.host("bravo"), "import mddns.zone.apex\nmddns.zone.apex.VERSION = b'md.v=2'\n")
    versions = Examined(bed.host("alpha"))["versions"]
    assert (versions["state"], versions["data"]["peers"]) == ("warn", {"md.v=2": ["bravo"]})
    assert "others use md.v=2: bravo" in versions["message"]


# --- the system's resolver --------------------------------------------------------------------------------------------


@pytest.fixture
def resolver_file(bed: Bed) -> Iterator[Path]:
    """bravo's own resolv.conf."""
    with resolv_conf(bed.host("bravo"), "") as file:
        yield file


@pytest.mark.namespaces
def test_a_resolver_that_sends_our_names_to_us_is_well(bed: Bed, resolver_file: Path) -> None:
    bravo = bed.host("bravo")
    resolver_file.write_text("nameserver 127.0.0.1\n")
    need("dnsmasq")
    config = bravo.directory / "dnsmasq.conf"
    config.write_text(
        f"server=/minidisc/{bravo.ipv4}#{PORT}\nno-resolv\nlisten-address=127.0.0.1\nbind-interfaces\nuser=root\n"
    )
    with bravo.start(["dnsmasq", "--keep-in-foreground", f"--conf-file={config}", "--pid-file"]) as dnsmasq:
        assert wait_until(lambda: Examined(bravo)["port53"]["data"]["servers"] != [])
        found = Examined(bravo)
    assert found.not_ok() == {}
    (server,) = found["port53"]["data"]["servers"]
    assert (server["owners"], server["ours"]) == ([{"pid": dnsmasq.pid, "program": "dnsmasq"}], True)
    assert found["resolution"]["data"]["addresses"][0] in bravo.addresses
    assert found["resolution"]["data"]["nameservers"] == ["127.0.0.1"]


@pytest.mark.namespaces
def test_somebody_else_who_answers_for_our_zone_is_a_failure(bed: Bed, resolver_file: Path) -> None:
    bravo = bed.host("bravo")
    resolver_file.write_text("nameserver 127.0.0.1\n")
    need("dnsmasq")
    options = ["--no-resolv", "--listen-address=127.0.0.1", "--bind-interfaces", "--user=root", "--pid-file"]
    with bravo.start(["dnsmasq", "--keep-in-foreground", "--address=/minidisc/198.18.0.9", *options]):
        assert wait_until(lambda: Examined(bravo)["port53"]["data"]["servers"] != [])
        found = Examined(bravo)
    assert (found["resolution"]["state"], found.code) == ("fail", 1)
    assert "another DNS server answers for minidisc: ns.minidisc is 198.18.0.9" in found["resolution"]["message"]
    assert found["resolution"]["fix"].endswith("sudo md setup dnsmasq --apply")


@pytest.mark.namespaces
def test_md_forward_is_known_as_what_answers_for_our_zone(bed: Bed, resolver_file: Path) -> None:
    bravo = bed.host("bravo")
    resolver_file.write_text("nameserver 127.0.0.1\n")
    with bravo.start(["md", "forward"]) as forward:
        forward.wait_for("127.0.0.1:53")
        found = Examined(bravo)
    assert found.not_ok() == {}
    (server,) = found["port53"]["data"]["servers"]
    assert (server["address"], server["owners"][0]["pid"], server["ours"]) == ("127.0.0.1", forward.pid, True)


@pytest.mark.namespaces
def test_a_resolver_that_hangs_is_a_finding_within_three_seconds(
    bed: Bed, resolver_file: Path, measured: Measured
) -> None:
    bravo = bed.host("bravo")
    bed_address = "100.64.9.9"  # nobody is there, and nobody says so
    resolver_file.write_text(f"nameserver {bed_address}\n")
    bravo.run(
        ["ip", "neigh", "add", bed_address, "lladdr", "02:00:00:00:00:01", "nud", "permanent", "dev", "tailscale0"]
    )
    found = Examined(bravo)
    assert found["resolution"]["state"] == "warn"
    assert "no answer in time" in found["resolution"]["message"]
    measured(f"md doctor with a resolver that hangs: {found.took:.2f} s")
    assert found.took < 3.0  # the issue's own limit


# --- whatever happens -------------------------------------------------------------------------------------------------


def test_a_network_that_is_no_tailnet_is_examined_too(tmp_path: Path) -> None:
    with World(tmp_path) as world:
        world.start("advertise", "web", ":80", node="alpha").wait_for("advertised")
        done = world.md("doctor", "-o", "jsonl")
        found = {finding["check"]: finding for finding in map(json.loads, done.stdout.splitlines())}
        assert "tailscaled" not in found
        assert (found["network"]["state"], found["live"]["data"]["services"]) == ("ok", 1)
        assert done.returncode == 0


def test_the_commands_of_a_fix_are_about_the_network_and_the_domain_that_were_given(tmp_path: Path) -> None:
    with World(tmp_path) as world:
        done = world.md("doctor", "--network", "static:127.0.0.2", "--domain", "nowhere.lan", "-o", "jsonl")
        fixes = {finding["check"]: finding["fix"] for finding in map(json.loads, done.stdout.splitlines())}
        assert " --network static:127.0.0.2 --domain nowhere.lan" in fixes["resolution"]


def test_another_format_is_refused(tmp_path: Path) -> None:
    with World(tmp_path) as world:
        done = world.md("doctor", "-o", "yaml")
        assert (done.returncode, done.stdout) == (2, "")


def test_a_check_that_crashes_is_a_finding() -> None:
    def broken() -> list[Finding]:
        raise RuntimeError("boom")

    (found,) = gather.careful("x", broken)
    assert (found.check, found.state) == ("x", FAIL)
    assert "RuntimeError: boom" in found.what


def test_a_crash_of_one_check_leaves_the_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(gather.resolver_findings, "port_53", broken)
    monkeypatch.setattr(gather.network_findings, "peers", broken)
    settings = Settings.of("static:127.0.0.1:1", environ={})
    found = {each.check: each for each in gather.examine(settings, Memory(), str(tmp_path))}
    assert all("boom" in found[check].what for check in ("port53", "peers"))
    assert {"network", "addresses", "port", "versions", "live", "clock", "resolution", "dnssec"} <= set(found)


def test_the_configuration_of_a_validating_resolver_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "systemd/resolved.conf.d").mkdir(parents=True)
    (tmp_path / "systemd/resolved.conf").write_text("[Resolve]\nDNSSEC=no\n")
    (tmp_path / "systemd/resolved.conf.d/x.conf").write_text("[Resolve]\nDNSSEC=yes\n")
    settings = Settings.of("static:127.0.0.1:1", environ={})
    seen = gather._Seen(settings, Memory(), str(tmp_path))
    seen._servers = [gather.Server("127.0.0.53", 53)]
    assert next(iter(seen.dnssec())).state == "warn"
    (tmp_path / "dnssec-trust-anchors.d").mkdir()
    (tmp_path / "dnssec-trust-anchors.d/mddns.negative").write_text("minidisc\n")
    assert next(iter(seen.dnssec())).state == "ok"


def test_it_needs_no_root(bed: Bed) -> None:
    charlie = bed.host("charlie")
    charlie.directory.parent.chmod(0o755)  # tailscaled's socket is in there, and open to all
    done = charlie.run(as_nobody("doctor"))
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stdout + done.stderr
    assert "answered: " in done.stdout


@pytest.mark.namespaces
def test_a_registry_whose_addresses_left_with_tailscaled_is_let_be(make_bed: MakeBed) -> None:
    """As when tailscaled is killed: the device goes with it, and comes back with it."""
    alpha = make_bed(["alpha"]).host("alpha")
    pid = advertise(alpha)
    alpha.tailscaled.stop()
    netns.ip(["addr flush dev tailscale0"], alpha.namespace)
    found = Examined(alpha)["port"]
    program = Path(f"/proc/{pid}/comm").read_text().strip()  # python, where the path of md has a space
    assert (found["state"], found["fix"]) == ("ok", None)
    assert found["message"] == (
        f"no network interface has {alpha.ipv4} and {alpha.ipv6} now: "
        f"the program with port {PORT} there ({program} pid {pid}) answers again when "
        "the address is back"
    )
