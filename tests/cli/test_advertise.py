"""`md advertise`: what it takes, and that what it tells to type finds what it offers."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from bed import netns
from bed.dig import need
from bed.host import Host
from bed.hosts import PORT, Bed
from bed.process import Process, wait_until
from bed.tailnet import Node
from conftest import MakeBed
from inside import md_inside
from places import ROOT

from mddns.base.names import Name
from mddns.cli.parts.service_words import dig_line, lookup_line, shell_word
from mddns.networks.settings import Settings

# What a shell, dig, md itself, DNS or a terminal would take for something else.
HARD = [
    *(
        "my web",
        "it's",
        "a;b",
        "$HOME",
        "-x",
        "--help",
        "+short",
        "@home",
        "a=b",
        "a.b",
        "x\\y",
        "*x",
        '"',
        "#",
        "~",
        "!",
    ),
    *("SRV", "x-", "ab--cd", "x" * 62, "café", "Grüße", "日本語のサービス名です", "ü" * 31, "a\u200db", "a\u202eb"),
]
HARD_FOR_MD = ["my web", "$HOME", "-x", "--help", "a=b", "ü" * 31, "a\u200db"]


def lines(process: Process) -> tuple[str, str]:
    """The two lines to type: `md lookup …`, `dig …`."""
    process.wait_for("or on any machine")
    said = process.stderr.splitlines()
    lookup = next(line for line in said if "To find" in line)
    dig = next(line for line in said if "or on any machine" in line)
    return "md lookup" + lookup.split(": md lookup", 1)[1], "dig" + dig.split(": dig", 1)[1]


def pasted(host: Host, line: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """A line as a shell runs it that knows nothing of ours, on a host that remembers nothing."""
    return host.run(["sh", "-c", line], env={"XDG_CACHE_HOME": "/dev/null", **(env or {})})


@pytest.fixture(scope="module")
def bed(make_module_bed: MakeBed) -> Bed:
    return make_module_bed(["alpha", "bravo", "charlie"])


@pytest.fixture
def advertise(bed: Bed) -> Iterator[Any]:
    """`advertise("web", ":80", …)` on alpha, until the test ends."""
    with ExitStack() as stack:

        def start(*words: str) -> Process:
            process = stack.enter_context(bed.host("alpha").start(["md", "advertise", *words]))
            process.wait_for("or on any machine")
            return process

        yield start


# --- files and flags --------------------------------------------------------------------------------------------------


@pytest.mark.quick
def test_a_zone_file_is_advertised(bed: Bed, advertise: Any) -> None:
    process = advertise(str(ROOT / "zones/minidisc.zone"))
    found = json.loads(pasted(bed.host("bravo"), "md lookup db -o json").stdout)
    assert [(each["addrPort"], each["priority"], each["labels"]["role"]) for each in found] == [
        ("100.64.0.3:5432", 10, "primary"),
        ("100.64.0.4:5432", 20, "standby"),
    ]
    assert "minidisc.zone:4: SOA skipped; mddns makes its own\n" in process.stderr
    assert "100.64.0.3:514/udp" in process.stdout


@pytest.mark.parametrize("path", [*sorted((ROOT / "zones").glob("*.zone")), ROOT / "example-cfg.yaml"], ids=str)
def test_every_example_file_is_advertised(bed: Bed, advertise: Any, path: Path) -> None:
    process = advertise(str(path))
    done = pasted(bed.host("bravo"), "md list -o name")
    assert len(done.stdout.splitlines()) == len(process.stdout.splitlines()) > 0


def test_a_zone_on_standard_input_is_known_by_its_text(bed: Bed) -> None:
    alpha = bed.host("alpha")
    (alpha.directory / "in").write_text("web SRV 10 10 80 host\nhost A 100.64.0.9\n")
    with alpha.start(["sh", "-c", "exec md advertise - < in"]) as process:
        process.wait_for("advertised")
        assert process.stdout == "web 100.64.0.9:80\n"
        assert process.terminate() == 0


@pytest.mark.quick
def test_flags_say_protocol_priority_and_weight(bed: Bed, advertise: Any) -> None:
    advertise("web", ":80", "a=b", "--protocol", "udp", "--priority", "0", "--weight", "65535")
    (found,) = json.loads(pasted(bed.host("bravo"), "md lookup web -o json").stdout)
    assert {key: found[key] for key in ("labels", "protocol", "priority", "weight")} == {
        "labels": {"a": "b"}, "protocol": "udp", "priority": 0, "weight": 65535,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["s.yaml", "--weight", "1"], "--weight needs NAME ADDRESS; in a file, set 'weight' for each service"),
        (["web", ":80", "--weight", "65536"], "65536"),
        (["web", ":80", "--priority", "x"], "'x'"),
        (["web", ":80", "--protocol", "sctp"], "sctp"),
        (["web", "env=prod"], "the address after 'web' is missing, as in: md advertise web :8080 env=prod"),
        (["web"], "the file 'web' does not exist; to offer a service of that name: md advertise web :PORT"),
        (["my web"], "md advertise 'my web' :PORT"),
        (["web", ":0"], "port 0: must be a whole number from 1 to 65535"),
        (["ns", ":80"], "service name 'ns': reserved"),
        ([], "NAME ADDRESS"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_wrong_words_are_answered(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    code, out, err = md_inside(monkeypatch, capsys)("advertise", *words)
    assert (code, out) == (2, "")
    assert said in err


@pytest.mark.quick
def test_services_are_printed_in_the_format_asked_for(advertise: Any) -> None:
    process = advertise("web", ":80", "-o", "json")
    assert json.loads(process.stdout)[0]["name"] == "web"


# --- what to type -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [("web", ":80"), ("web", ":53", "--protocol", "udp"), ("my café", "10.1.2.3:80"), ("-v", ":80")],
    ids=["tcp", "udp", "remote", "option"],
)
def test_both_lines_find_it_from_another_host(bed: Bed, advertise: Any, words: tuple[str, ...]) -> None:
    need("dig")
    words = ("--", *words) if words[0].startswith("-") else words
    process = advertise(*words)
    address = process.stdout.split()[-1].partition("/")[0]
    lookup, dig = lines(process)
    done = pasted(bed.host("bravo"), lookup + " -o name" if "--" not in lookup else lookup.replace("--", "-o name --"))
    assert (done.stdout, done.stderr) == (f"{address}\n", "")
    assert pasted(bed.host("bravo"), dig + " +short").stdout.split()[2] == address.rpartition(":")[2]


def test_any_name_is_found_by_the_lines(bed: Bed, advertise: Any) -> None:
    need("dig")
    alpha, bravo = bed.host("alpha"), bed.host("bravo")
    text = json.dumps({"services": [{"name": name, "address": f":{1000 + n}"} for n, name in enumerate(HARD)]})
    (alpha.directory / "hard.yaml").write_text(text)
    advertise("hard.yaml")
    settings = Settings.of(environ={})
    for name in HARD_FOR_MD:
        lookup = lookup_line(name, settings)
        assert lookup.isprintable()
        done = pasted(bravo, lookup.replace("md lookup", "md lookup -o name", 1))
        assert done.stdout == f"{alpha.ipv4}:{1000 + HARD.index(name)}\n", (lookup, done)
    digs = [dig_line(name, settings.apex, alpha.ipv4, PORT) for name in HARD]
    assert all(map(str.isprintable, digs))
    # On a terminal, as dig looks for international names there alone.
    script = "\n".join(f"{dig} +noall +answer +tries=1" for dig in digs)
    on_terminal = "import pty, sys; sys.exit(pty.spawn(['sh', '-c', sys.argv[1]]))"
    done = bravo.run([sys.executable, "-c", on_terminal, script], env={"LC_ALL": "C.UTF-8"})
    said = done.stdout.splitlines()
    assert [line.split()[-2] for line in said] == [str(1000 + number) for number in range(len(HARD))], done.stdout


@pytest.mark.quick
def test_the_lines_say_network_domain_and_port(bed: Bed) -> None:
    """Nothing of it is known to the shell that they are pasted into, however it was said here."""
    need("dig")
    alpha, bravo = bed.host("alpha"), bed.host("bravo")
    env = {"MDDNS_NETWORK": f"static:a={alpha.ipv4}:5301,b={bravo.ipv4}", "MDDNS_DOMAIN": "my net.internal"}
    no_tailscale = {"TS_SOCKET": "/nowhere"}
    with alpha.start(["md", "advertise", "web", ":80", "--port", "5300"], env={**env, **no_tailscale}) as process:
        lookup, dig = lines(process)
        assert f"@{alpha.ipv4} -p 5301" in dig
        for host in (alpha, bravo):
            done = pasted(host, f"{lookup} -o name", no_tailscale)
            assert (done.stdout, done.stderr) == (f"{alpha.ipv4}:80\n", "")
            assert len(pasted(host, f"{dig} +short").stdout.splitlines()) == 1
        assert process.terminate() == 0


def test_the_lines_say_our_own_address(bed: Bed) -> None:
    """Where --address says another one than the network does, only that one is answered at."""
    alpha, own = bed.host("alpha"), f"127.88.{os.getpid() % 254}.1"
    with alpha.start(["md", "advertise", "web", ":80", "--address", own]) as process:
        lookup, _ = lines(process)
        assert pasted(alpha, f"{lookup} -o name").stdout == f"{own}:80\n"
        assert process.terminate() == 0


@pytest.mark.skipif(netns.why_not() is not None, reason="loopback beds have no IPv6")
def test_the_lines_of_a_node_with_ipv6_alone(make_bed: MakeBed) -> None:
    need("dig")
    bed = make_bed([Node("six", families=(6,)), "bravo"])
    six = bed.host("six")
    process = six.start(["md", "advertise", "web", ":80"])
    lookup, dig = lines(process)
    assert pasted(bed.host("bravo"), f"{lookup} -o name").stdout == f"[{six.ipv6}]:80\n"
    assert len(pasted(bed.host("bravo"), f"{dig} +short").stdout.splitlines()) == 1


@pytest.mark.quick
def test_of_several_services_the_first_is_told(bed: Bed, advertise: Any) -> None:
    (bed.host("alpha").directory / "s.yaml").write_text("services: [{name: a, address: 1}, {name: b, address: 2}]")
    lookup, _ = lines(advertise("s.yaml"))
    assert lookup == "md lookup a"


def test_usual_settings_are_not_said() -> None:
    settings = Settings.of(["tailscale"], domain="MiniDisc.", port=28004, environ={})
    assert lookup_line("web", settings) == "md lookup web"
    unusual = Settings.of(["static:10.0.0.1", "tailscale"], domain="a b", port=53, address="10.0.0.1", environ={})
    assert lookup_line("web", unusual) == (
        "md lookup --network static:10.0.0.1 --network tailscale --address 10.0.0.1 --domain 'a\\032b' --port 53 web"
    )
    assert dig_line("web", Name.parse("minidisc"), "100.64.0.1", 53) == "dig SRV web.minidisc @100.64.0.1 -p 53"


@pytest.mark.parametrize("shell", ["sh", "bash", "dash", "zsh"])
def test_a_word_is_what_a_shell_makes_of_it(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    line = " ".join(map(shell_word, HARD))
    script = f"printf '%s\\n' {line}"
    done = subprocess.run([shell, "-c", script], capture_output=True, check=True, timeout=10)
    assert done.stdout.decode().splitlines() == HARD
    assert [shell_word(name) for name in ("web", "my web")] == ["web", shlex.quote("my web")]


# --- its end ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["words", "file"])
def test_a_terminal_that_is_closed_ends_it(bed: Bed, form: str) -> None:
    """SIGHUP reads a file again, but not where it says that nobody is there any more."""
    alpha = bed.host("alpha")
    (alpha.directory / "s.yaml").write_text("services: [{name: web, address: ':80'}]")
    words = ["web", ":80"] if form == "words" else ["s.yaml"]
    master, slave = os.openpty()
    # The program takes the terminal as its own, as one does that is started from it.
    taking = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execvp('md', sys.argv[1:])"
    line = shlex.join(["python", "-c", taking, "md", "advertise", *words])
    with alpha.start(["sh", "-c", f"exec {line} < {os.ttyname(slave)} 2> said-{form}"]) as process:
        said = alpha.directory / f"said-{form}"
        assert wait_until(lambda: said.exists() and "or on any" in said.read_text())
        if form == "file":
            process.signal(signal.SIGHUP)  # with the terminal still there: a reload
            assert wait_until(lambda: "nothing has changed" in said.read_text())
        os.close(slave)
        os.close(master)
        assert process.wait() == (0 if form == "file" else -signal.SIGHUP)
