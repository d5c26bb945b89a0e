"""`md setup --apply` and `--undo` where the programs are: what `md doctor` says is typed, and then it is well.

Each program has an /etc of its own, port 53 of 127.0.0.1, and other names from a server on bravo.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from bed.dig import need
from bed.hosts import Bed, Host
from bed.installed import Installed
from bed.process import wait_until
from conftest import MakeBed
from fronts import KEY, OTHER_NAME, other_names
from real_clients import forward

from mddns.setup.recipe import is_ours

pytestmark = pytest.mark.namespaces
FORWARD = "md forward --listen 127.0.0.1:5354"
_ANSWERS = "dig @127.0.0.1 +tries=1 +time=1 version.bind CH TXT"


def dnsmasq(host: Host, upstream: str, more: str = "", unit: str = "dnsmasq") -> Installed:
    need("dnsmasq")
    conf = "listen-address=127.0.0.1\nbind-interfaces\nuser=root\npid-file=\nno-resolv\nno-hosts\nstop-dns-rebind\n"
    conf += f"server={upstream}\nconf-dir=/etc/dnsmasq.d/,*.conf\n"
    return Installed(
        host, unit, ["dnsmasq", "--keep-in-foreground"], _prepared("dnsmasq.conf", conf, "dnsmasq.d", more), _ANSWERS
    )


def unbound(host: Host, upstream: str, more: str = "", unit: str = "unbound") -> Installed:
    """It validates."""
    need("unbound")
    conf = f"""
include: "/etc/unbound/unbound.conf.d/*.conf"
server:
    interface: 127.0.0.1
    username: ""
    chroot: ""
    pidfile: ""
    use-syslog: no
    trust-anchor: ". DS {KEY}"
    domain-insecure: "example.org."
remote-control:
    control-enable: no
forward-zone:
    name: "."
    forward-addr: {upstream}
"""
    prepare = _prepared("unbound/unbound.conf", conf, "unbound/unbound.conf.d", more)
    return Installed(host, unit, ["unbound", "-d"], prepare, _ANSWERS)


def _prepared(file: str, text: str, directory: str, more: str) -> str:
    return f"""
rm -rf /etc/{directory}
mkdir -p /etc/{directory}
cat >/etc/{file} <<'END'
{text}
END
cat >/etc/{directory}/own.conf <<'END'
{more}
END
rm -f /etc/resolv.conf
echo nameserver 127.0.0.1 >/etc/resolv.conf
"""


Install = Callable[..., Installed]
both = pytest.mark.parametrize("install", [dnsmasq, unbound])


@pytest.fixture(scope="module")
def bed(make_module_bed: MakeBed) -> Iterator[Bed]:
    """alpha offers a service, bravo has other names, and on desk is the resolver."""
    bed = make_module_bed(["alpha", "bravo", "desk"])
    bed.host("alpha").start(["md", "advertise", "web", ":8080"]).wait_for("advertised")
    other_names(bed.host("bravo"))
    return bed


def doctor(machine: Installed) -> dict[str, dict[str, Any]]:
    """What is not ok, by check."""
    found = json.loads(machine.run(["md", "doctor", "-o", "json"]).stdout)
    return {each["check"]: each for each in found if each["state"] != "ok"}


def finds(machine: Installed, name: str) -> bool:
    return machine.run(["getent", "ahostsv4", name]).returncode == 0


def place(machine: Installed, kind: str) -> str:
    """Where its file goes: the first line of what `md setup` prints says so."""
    return machine.shell(f"md setup {kind}").split()[1].rstrip(":")


@both
def test_what_md_doctor_says_mends_it_and_undo_takes_it_back(bed: Bed, install: Install) -> None:
    kind = install.__name__
    with install(bed.host("desk"), bed.host("bravo").ipv4) as machine:
        assert (finds(machine, "web.minidisc"), finds(machine, OTHER_NAME)) == (False, True)
        found = doctor(machine)
        assert set(found) == {"resolution"}
        assert found["resolution"]["fix"] == f"{FORWARD}\nsudo md setup {kind} --apply"
        with machine.start(FORWARD.split()) as forwarder:
            forwarder.wait_for("Ctrl-C ends it", timeout=15)
            machine.shell(f"sudo md setup {kind} --apply")
            (told,) = machine.called
            assert told in ("systemctl try-restart dnsmasq", "systemctl try-reload-or-restart unbound")
            assert wait_until(lambda: finds(machine, "web.minidisc"), 10)
            assert finds(machine, OTHER_NAME)
            assert wait_until(lambda: doctor(machine) == {}, 15), doctor(machine)
            machine.shell(f"sudo md setup {kind} --apply")
            assert machine.called == [told]  # as it should be: nothing was restarted
            machine.shell(f"sudo md setup {kind} --undo")
            assert machine.called == [told, told]
            assert not machine.file(place(machine, kind)).exists()
            assert wait_until(lambda: not finds(machine, "web.minidisc"), 10)
            assert finds(machine, OTHER_NAME)


def test_on_a_machine_without_a_resolver_md_forward_becomes_it(bed: Bed) -> None:
    elsewhere = f"rm -f /etc/resolv.conf\necho nameserver {bed.host('bravo').ipv4} >/etc/resolv.conf"
    desk = bed.host("desk")
    # Another resolver is there for guests, as libvirt's is: it is not this one's.
    with Installed(desk, "none", ["sleep", "infinity"], elsewhere) as machine, other_names(desk):
        assert (finds(machine, "web.minidisc"), finds(machine, OTHER_NAME)) == (False, True)
        forward, first = doctor(machine)["resolution"]["fix"].splitlines()
        with machine.start(forward.split()) as forwarder:
            forwarder.wait_for("Ctrl-C ends it", timeout=15)
            machine.shell(first)
            assert wait_until(lambda: finds(machine, "web.minidisc"), 10)
            assert finds(machine, OTHER_NAME)
            assert wait_until(lambda: doctor(machine) == {}, 15), doctor(machine)


@both
def test_where_the_configuration_is_wrong_nothing_is_left_and_nothing_is_restarted(bed: Bed, install: Install) -> None:
    kind = install.__name__
    with install(bed.host("desk"), bed.host("bravo").ipv4) as machine:
        machine.shell(f"echo nonsense-{kind} >$(dirname {place(machine, kind)})/zz.conf")
        done = machine.run(["md", "setup", kind, "--apply"])
        assert done.returncode == 2
        assert "was restored, since " in done.stderr
        assert not machine.file(place(machine, kind)).exists()
        assert machine.called == []


@both
def test_a_program_that_is_not_restarted_is_told(bed: Bed, install: Install) -> None:
    kind = install.__name__
    with install(bed.host("desk"), bed.host("bravo").ipv4, unit="another") as machine:
        done = machine.run(["md", "setup", kind, "--apply"])
        assert (done.returncode, machine.file(place(machine, kind)).exists()) == (1, True)
        assert f"Unit {kind}.service not found" in done.stderr


def test_a_validating_unbound_that_sends_us_on_gets_its_exception_from_md_doctor(bed: Bed) -> None:
    own = 'server:\n do-not-query-localhost: no\nforward-zone:\n name: "minidisc."\n forward-addr: 127.0.0.1@5354\n'
    desk = bed.host("desk")
    with (
        unbound(desk, bed.host("bravo").ipv4, own) as machine,
        forward(desk, "--listen", "127.0.0.1:5354"),
    ):
        assert not finds(machine, "web.minidisc")
        found = doctor(machine)
        assert found["dnssec"]["state"] == "warn"
        machine.shell(found["dnssec"]["fix"])
        assert wait_until(lambda: finds(machine, "web.minidisc"), 10)
        assert wait_until(lambda: doctor(machine) == {}, 15), doctor(machine)


def test_macoss_file_is_written_and_removed_and_its_program_told_each_time(bed: Bed) -> None:
    """The machine is none: its `killall` only notes what it was told."""
    with dnsmasq(bed.host("desk"), bed.host("bravo").ipv4) as machine:
        machine.shell("sudo md setup macos --apply")
        file = machine.file("/etc/resolver/minidisc")
        assert is_ours(file.read_text())
        machine.shell("sudo md setup macos --undo")
        assert not file.exists()
        assert machine.called == ["killall -HUP mDNSResponder"] * 2
