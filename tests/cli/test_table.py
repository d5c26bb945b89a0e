"""Every command and every outcome that it can have: exit code, what is on stdout, what is said on stderr.

A command without rows fails here, and so does one that lacks an outcome that its kind must have.
"""

from __future__ import annotations

import json
import re
import signal
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

import click
import pytest
from program import ADDRESS, Deaf, World, free_ports

from mddns import __version__
from mddns.cli import COMMANDS, group
from mddns.cli.parts.options import COMMON

HEAD: Final = r"NAME  ADDRESS         LABELS    HOST\n"
WEB: Final = r"web   127.0.0.1:8080  env=prod  alpha\n"
NONE: Final = ""
USAGE: Final = r".*\bmd .*--help.*{}.*\n"  # how to ask for help, and what is wrong: the words are click's
SILENT: Final = r"md: 1 of \d peers was silent: deaf\n"
NOBODY: Final = r"md: 1 of 1 peer was silent: deaf; no registry answered. Is the network up, and port 28004 open\?\n"
NO_DAEMON: Final = (
    r"md: tailscaled is not running: there is no socket /nowhere/tailscaled\.sock\. .*--network static:.*\n"
)
UP: Final = r"md: advertised, until Ctrl-C.*\nmd: or on any machine.*\n"


class Row(NamedTuple):
    """One command line. ``out`` and ``err`` match all of what is printed; words in braces are the world's."""

    args: str
    outcome: str
    code: int
    out: str = NONE
    err: str = NONE
    env: Mapping[str, str | None] = MappingProxyType({})
    after: str = ""  # said before the signal is sent; "asked": the deaf node was asked
    signal: int = 0

    @property
    def command(self) -> str:
        return self.args.split()[0]


def asking(command: str, printed: str, *, nothing: int, quiet: str, verb: str = "was") -> list[Row]:
    """The rows of list, find and lookup."""
    return [
        Row(f"{command} web", "found", 0, printed),
        Row(f"{command} web env=prod", "found by label", 0, printed),
        Row(f"{command} web env=dev", "nothing", nothing, NONE, rf"md: no service 'web' with env=dev {verb} {quiet}\n"),
        Row(
            f"{command} nothing -o json", "nothing in JSON", nothing, r"\[\]\n", rf"md: no service .* {verb} {quiet}\n"
        ),
        Row(
            f"{command} web prod",
            "usage error",
            2,
            NONE,
            USAGE.format("'prod' is not a label; write labels as key=value"),
        ),
        Row(f"{command} _web", "no such name", 2, NONE, "md: service name '_web': must not start with .*\n"),
        Row(f"{command} web --no", "bad option", 2, NONE, USAGE.format("--no")),
        Row(f"{command} web --port x", "bad value", 2, NONE, "md: port 'x': must be a number from 1 to 65535\n"),
        Row(
            f"{command} web",
            "bad env",
            2,
            NONE,
            "md: MDDNS_TIMEOUT 'x': must be a number of seconds .*\n",
            {"MDDNS_TIMEOUT": "x"},
        ),
        Row(f"{command} web", "no LocalAPI", 3, NONE, NO_DAEMON, {"MDDNS_NETWORK": None}),
        Row(f"{command} none --network {{incomplete}}", "incomplete", nothing, NONE, SILENT + "md: no service .*\n"),
        Row(f"{command} none --network {{incomplete}} --strict", "strict", 4, NONE, SILENT + "md: no service .*\n"),
        Row(f"{command} web --strict", "strict and complete", 0, printed),
        Row(
            f"{command} web --network {{silent}}",
            "silent",
            3,
            NONE,
            NOBODY,
        ),
        Row(f"{command} web {{patient}}", "Ctrl-C", 130, after="asked", signal=signal.SIGINT),
        Row(f"{command} web {{patient}}", "SIGTERM", -signal.SIGTERM, after="asked", signal=signal.SIGTERM),
    ]


TABLE: Final = [
    *asking("list", HEAD + WEB, nothing=0, quiet="advertised", verb="is"),
    # What all of them share is tried with one.
    Row("list web a=1 a=2", "a label twice", 2, NONE, USAGE.format("label 'a' is given twice")),
    Row("list web --network x", "bad network", 2, NONE, "md: network 'x': must be 'tailscale' or .*\n"),
    Row("list web", "bad strict", 2, NONE, "md: MDDNS_STRICT 'x': must be 1 or 0.*\n", {"MDDNS_STRICT": "x"}),
    Row("list none --network {incomplete}", "strict by env", 4, NONE, SILENT + ".*\n", {"MDDNS_STRICT": "1"}),
    Row("list", "all", 0, HEAD + WEB),
    Row("list --network {nobody}", "empty", 0, NONE, "md: no services; 'md advertise NAME :PORT' offers one\n"),
    *asking("lookup", HEAD + WEB, nothing=1, quiet="found"),
    Row("lookup", "no name", 2, NONE, USAGE.format("NAME")),
    *asking("find", "127.0.0.1:8080\n", nothing=1, quiet="found"),
    Row("find", "no name", 2, NONE, USAGE.format("NAME")),
    *asking("leader", "127.0.0.1:8080\n", nothing=1, quiet="found"),
    Row("leader", "no name", 2, NONE, USAGE.format("NAME")),
    Row(
        "watch web",
        "Ctrl-C",
        0,
        r"up      web  127\.0\.0\.1:8080  env=prod  alpha\nleader .*\ncurrent\n",
        NONE,
        after="current",
        signal=signal.SIGINT,
    ),
    Row("watch web", "SIGTERM", -signal.SIGTERM, "up .*current\n", NONE, after="current", signal=signal.SIGTERM),
    Row(
        "watch web -o jsonl",
        "objects",
        0,
        r'\{"event": "up", "service": \{"name": "web", .*\n\{"event": "current"\}\n',
        NONE,
        after="current",
        signal=signal.SIGINT,
    ),
    Row("watch --network {nobody}", "nobody", 0, "current\n", NONE, after="current", signal=signal.SIGINT),
    Row("watch --network {incomplete}", "incomplete", 0, "up .*current\n", NONE, after="current", signal=signal.SIGINT),
    Row("watch web prod", "usage error", 2, NONE, USAGE.format("'prod' is not a label")),
    Row("watch _web", "no such name", 2, NONE, "md: service name '_web': must not start with .*\n"),
    Row("watch --no", "bad option", 2, NONE, USAGE.format("--no")),
    Row("watch -o zone", "bad format", 2, NONE, "md: output 'zone': this command supports only table, wide, jsonl\n"),
    Row("watch web", "bad env", 2, NONE, "md: MDDNS_PORT '0': .*\n", {"MDDNS_PORT": "0"}),
    Row(
        "watch web",
        "no LocalAPI",
        0,
        NONE,
        r"md: waiting for Tailscale: tailscaled .*; Ctrl-C to give up\n",
        {"MDDNS_NETWORK": None},
        after="give up",
        signal=signal.SIGINT,
    ),
    Row("wait web", "found", 0, "127.0.0.1:8080\n"),
    Row("wait web env=prod -o json", "found in JSON", 0, r"\[\n.*\]\n"),
    Row("wait web env=dev --for 0.3", "nothing", 1, NONE, "md: no service 'web' with env=dev came within 0.3 s\n"),
    Row("wait web --for 0", "there already", 0, "127.0.0.1:8080\n"),
    Row("wait none --for 0", "nothing at once", 1, NONE, "md: no service 'none' came within 0 s\n"),
    Row("wait none -o json --for 0", "nothing in JSON", 1, r"\[\]\n", "md: no service 'none' came within 0 s\n"),
    Row("wait web --network {silent} --for 0.3", "silent", 3, NONE, NOBODY),
    Row("wait web --network {silent} --for 0 --strict", "silent and strict", 3, NONE, NOBODY),
    Row("wait none --network {incomplete} --for 0.3", "incomplete", 1, NONE, SILENT + "md: no service .*\n"),
    Row("wait none --network {incomplete} --for 0.3 --strict", "strict", 4, NONE, SILENT + "md: no service .*\n"),
    Row("wait web --network {incomplete} --strict", "found and strict", 0, "127.0.0.1:8080\n"),
    Row("wait web prod", "usage error", 2, NONE, USAGE.format("'prod' is not a label")),
    Row("wait web --for x", "bad value", 2, NONE, USAGE.format("--for 'x': must be a number of seconds")),
    Row("wait web --no", "bad option", 2, NONE, USAGE.format("--no")),
    Row("wait web", "bad env", 2, NONE, "md: MDDNS_PORT '0': .*\n", {"MDDNS_PORT": "0"}),
    Row(
        "wait web --for 0.3",
        "no LocalAPI",
        3,
        NONE,
        r"md: waiting for Tailscale: tailscaled [^\n]*; Ctrl-C to give up\n" + NO_DAEMON,
        {"MDDNS_NETWORK": None},
    ),
    Row(
        "wait web",
        "no LocalAPI, and no limit",
        130,
        NONE,
        r"md: waiting for Tailscale: tailscaled [^\n]*; Ctrl-C to give up\n",
        after="give up",
        env={"MDDNS_NETWORK": None},
        signal=signal.SIGINT,
    ),
    Row("wait web {patient}", "Ctrl-C", 130, after="asked", signal=signal.SIGINT),
    Row("wait web {patient}", "SIGTERM", -signal.SIGTERM, after="asked", signal=signal.SIGTERM),
    Row("query web", "found", 0, r"alpha 127.0.0.1  NOERROR  .*web\.minidisc\. 5 IN SRV 10 10 8080 alpha-8080.*"),
    Row("query nothing", "nothing", 1, r"alpha 127.0.0.1  NXDOMAIN  .*asker 127.0.0.1  refused\n"),
    Row("query web --network {nobody}", "nobody", 1, ".* refused\n", "md: none of 1 peers answered: no registry .*\n"),
    Row("query", "usage error", 2, NONE, USAGE.format("NAME")),
    Row("query web NOTYPE", "bad type", 2, NONE, "md: type 'NOTYPE': must be a record type, .*\n"),
    Row("query a..b", "bad name", 2, NONE, "md: name 'a..b': has an empty label\n"),
    Row("query web --no", "bad option", 2, NONE, USAGE.format("--no")),
    Row(
        "query web -o name", "bad format", 2, NONE, "md: output 'name': this command supports only table, json, jsonl\n"
    ),
    Row("query web", "bad env", 2, NONE, "md: MDDNS_PORT '0': must be a number from 1 .*\n", {"MDDNS_PORT": "0"}),
    Row("query web", "no LocalAPI", 3, NONE, NO_DAEMON, {"MDDNS_NETWORK": None}),
    Row("query web --network {incomplete}", "incomplete", 0, ".*deaf 127.0.0.1  silent\n"),
    Row("query web --network {incomplete} --strict", "strict", 4, ".*deaf 127.0.0.1  silent\n"),
    Row("query web --network {silent}", "silent", 3, "deaf .*  silent\n", "md: none of 1 peers answered: .*\n"),
    Row("query web {patient}", "Ctrl-C", 130, after="asked", signal=signal.SIGINT),
    Row("query web {patient}", "SIGTERM", -signal.SIGTERM, after="asked", signal=signal.SIGTERM),
    # What offers ends by a signal, and that is no failure.
    Row("advertise x :80", "Ctrl-C", 0, "x 127.0.0.1:80\n", UP, after="or on any", signal=signal.SIGINT),
    Row("advertise x :80", "SIGTERM", 0, "x 127.0.0.1:80\n", UP, after="or on any", signal=signal.SIGTERM),
    Row("advertise {good}", "a file", 0, "x 127.0.0.1:80\n", UP, after="or on any", signal=signal.SIGTERM),
    Row("advertise", "usage error", 2, NONE, USAGE.format("NAME ADDRESS")),
    Row("advertise x k=v", "no address", 2, NONE, USAGE.format("address .* is missing")),
    Row("advertise x :80 --no", "bad option", 2, NONE, USAGE.format("--no")),
    Row("advertise x :80", "bad env", 2, NONE, "md: MDDNS_OUTPUT 'x': must be one of .*\n", {"MDDNS_OUTPUT": "x"}),
    Row("advertise x :0", "bad port", 2, NONE, "md: port 0: .*\n"),
    Row("advertise {bad}", "bad file", 2, NONE, r"md: \S+/bad\.yaml:2: services\[0\]: there is no 'address'; .*\n"),
    Row("advertise {missing}", "no file", 2, NONE, r"md: the file '\S+/missing\.yaml' does not exist; .*\n"),
    Row("advertise x :80 --wait 0", "no LocalAPI", 3, NONE, NO_DAEMON, {"MDDNS_NETWORK": None}),
    Row("advertise x :80 --network {taken}", "port in use", 3, NONE, "md: .*port.*\n"),
    Row("run x :80 -- true", "done", 0),
    Row("run x :80 -- sh -c exit\\ 7", "its exit code", 7),
    Row("run x :80 --", "usage error", 2, NONE, USAGE.format("the command to run is missing")),
    Row("run x :80 --no -- true", "bad option", 2, NONE, USAGE.format("--no")),
    Row("run x :80 -- true", "bad env", 2, NONE, "md: MDDNS_PORT 'x': .*\n", {"MDDNS_PORT": "x"}),
    Row("run x :80 -- /no/such", "no program", 127, NONE, "md: /no/such cannot be run: it does not exist\n"),
    Row("run x :80 --wait 0 -- true", "no LocalAPI", 3, NONE, NO_DAEMON, {"MDDNS_NETWORK": None}),
    Row("run x :80 --network {taken} -- true", "port in use", 3, NONE, "md: .*port.*\n"),
    Row("run x :80 -- sh -c echo\\ on;exec\\ sleep\\ 60", "Ctrl-C", 130, "on\n", after="on", signal=signal.SIGINT),
    Row("run x :80 -- sh -c echo\\ on;exec\\ sleep\\ 60", "SIGTERM", 143, "on\n", after="on", signal=signal.SIGTERM),
    Row("check {good}", "done", 0, "x :80\n", r"md: \S+/good\.yaml: ok; 1 service\n"),
    Row("check {bad}", "bad file", 2, NONE, r"md: \S+/bad\.yaml:2: services\[0\]: there is no 'address'; .*\n"),
    Row("check {missing}", "no file", 2, NONE, r"md: the file '\S+/missing\.yaml' does not exist.*\n"),
    Row("check", "usage error", 2, NONE, USAGE.format("FILE")),
    Row("check {good} --no", "bad option", 2, NONE, USAGE.format("--no")),
    Row("check {good}", "bad env", 2, NONE, "md: domain '.*': .*\n", {"MDDNS_DOMAIN": "a..b"}),
    Row("demo --once", "done", 0, "NAME .*web .*", "\nThree nodes run on 127.0.0.1: .*md find db\n"),
    Row("demo x", "usage error", 2, NONE, USAGE.format(r"\bx\b")),
    Row("demo --no", "bad option", 2, NONE, USAGE.format("--no")),
    Row("demo", "bad env", 2, NONE, "md: MDDNS_TIMEOUT '0': .*\n", {"MDDNS_TIMEOUT": "0"}),
    Row("demo", "Ctrl-C", 0, "NAME .*", "\nThree .*", after="running until", signal=signal.SIGINT),
    Row("demo", "SIGTERM", 0, "NAME .*", "\nThree .*", after="running until", signal=signal.SIGTERM),
    Row("forward {here}", "SIGTERM", 0, NONE, "md: .*", after="127.0.0.1", signal=signal.SIGTERM),
    Row("forward x", "usage error", 2, NONE, USAGE.format(r"\bx\b")),
    Row("forward --no", "bad option", 2, NONE, USAGE.format("--no")),
    Row("setup dnsmasq", "done", 0, ".*server=/minidisc/127.0.0.1#5354.*", ".*"),
    Row("setup", "usage error", 2, NONE, USAGE.format("KIND")),
    Row("setup nobody", "no such kind", 2, NONE, ".*nobody.*"),
    Row("setup dnsmasq --no", "bad option", 2, NONE, USAGE.format("--no")),
    Row("setup dnsmasq", "bad env", 2, NONE, "md: domain '.*': .*\n", {"MDDNS_DOMAIN": "a..b"}),
    Row("doctor x", "usage error", 2, NONE, USAGE.format(r"\bx\b")),
    Row("doctor --no", "bad option", 2, NONE, USAGE.format("--no")),
    Row("doctor", "bad env", 2, NONE, "md: MDDNS_PORT 'x': .*\n", {"MDDNS_PORT": "x"}),
    Row("doctor", "no LocalAPI", 3, ".*tailscaled.*", ".*", {"MDDNS_NETWORK": None}),
    Row("completion bash", "done", 0, r"_md_completion\(\).*"),
    Row("completion", "usage error", 2, NONE, USAGE.format("bash")),
    Row("completion tcsh", "no such shell", 2, NONE, USAGE.format("'tcsh' is not one of")),
    Row("forward", "bad env", 2, NONE, "md: MDDNS_TIMEOUT '0': .*\n", {"MDDNS_TIMEOUT": "0"}),
    Row("forward --listen localhost", "bad place", 2, NONE, r"md: listen 'localhost': not an IP address; .*\n"),
    Row(
        "forward --listen 0.0.0.0:53",
        "all addresses",
        2,
        NONE,
        r"md: listen '0\.0\.0\.0:53': a wildcard is not allowed; .*\n",
    ),
    Row(
        "forward --listen 127.0.0.1:0",
        "bad port",
        2,
        NONE,
        r"md: listen '127\.0\.0\.1:0': port '0' is not a number.*\n",
    ),
    Row("forward --upstream router", "bad upstream", 2, NONE, r"md: upstream 'router': must be an address, .*\n"),
    Row("forward --notify router", "bad target", 2, NONE, r"md: notify 'router': must be an address, .*\n"),
    Row(
        "forward --listen 127.0.0.1:{free} --upstream 127.0.0.1#{free}",
        "itself as upstream",
        2,
        NONE,
        r"md: upstream 127\.0\.0\.1#\d+: md forward itself answers there; .*\n",
    ),
    Row("forward --listen 127.0.0.1:{held}", "port in use", 3, NONE, r"md: UDP 127.*\(pid \d+, .*\): .*--listen.*\n"),
    Row(
        "forward --listen 127.0.0.1:{free} --upstream 127.0.0.1#9",
        "no LocalAPI",
        0,
        NONE,
        r"md: the network is lost: tailscaled is not running: .*md: answering at .*\n",
        {"MDDNS_NETWORK": None},
        after="Ctrl-C ends it",
        signal=signal.SIGTERM,
    ),
    Row(
        "forward --listen 127.0.0.1:{free} --upstream 127.0.0.1#9",
        "Ctrl-C",
        0,
        NONE,
        r"md: answering at 127\.0\.0\.1:\d+\nmd: names under minidisc .* 127\.0\.0\.1#9\nmd: next: .*\nmd: try: .*\n",
        after="Ctrl-C ends it",
        signal=signal.SIGINT,
    ),
    Row(
        "forward --listen 127.0.0.1:{free} --resolv-conf {missing}",
        "no file",
        0,
        NONE,
        r"md: \S+/missing\.yaml cannot be read: [^\n]+\nmd: .*--upstream ADDRESS.*",
        after="Ctrl-C ends it",
        signal=signal.SIGTERM,
    ),
    Row("completion --no", "bad option", 2, NONE, USAGE.format("--no")),
    Row("help", "done", 0, r".*\bmd .*Find:.*"),
    Row("help find", "of a command", 0, r".*\bmd find .*"),
    Row("help fnid", "usage error", 2, NONE, USAGE.format("Did you mean 'find'")),
    Row("help --no", "bad option", 2, NONE, USAGE.format("--no")),
]

ALWAYS: Final = {"usage error", "bad option"}
ASKS: Final = {"found", "nothing", "no LocalAPI", "incomplete", "strict", "silent", "Ctrl-C", "SIGTERM"}
OFFERS: Final = {"no LocalAPI", "port in use", "Ctrl-C", "SIGTERM"}
FILES: Final = {"bad file", "no file"}
REQUIRED: Final = {
    **dict.fromkeys(("list", "find", "lookup", "leader", "query"), ASKS),
    "watch": {"no LocalAPI", "incomplete", "Ctrl-C", "SIGTERM"},
    "wait": ASKS,
    "advertise": OFFERS | FILES,
    "run": OFFERS | {"no program", "its exit code"},
    "check": FILES | {"done"},
    "demo": {"done", "Ctrl-C", "SIGTERM"},
    "forward": {"no LocalAPI", "port in use", "bad place", "Ctrl-C", "SIGTERM", "no file"},
    "setup": {"done", "no such kind"},
    "doctor": {"no LocalAPI"},
    "completion": {"done"},
    "help": {"done"},
}


class Stage(NamedTuple):
    """What the rows need: a network with alpha, files, and a node that hears and says nothing."""

    world: World
    deaf: Deaf
    words: dict[str, str]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    directory = tmp_path_factory.mktemp("table")
    (directory / "good.yaml").write_text("services:\n  - {name: x, address: ':80'}\n")
    (directory / "bad.yaml").write_text("services:\n  - {name: x}\n")
    with ExitStack() as stack:
        world = stack.enter_context(World(directory, ("asker", "alpha", "nobody")))
        deaf = stack.enter_context(Deaf())
        taken = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
        taken.bind((ADDRESS, 0))
        nobody = world.ports.pop("nobody")
        world.start("advertise", "web", ":8080", "env=prod", node="alpha").wait_for("advertised")
        deaf_node = deaf.network.removeprefix("static:")
        yield Stage(
            world,
            deaf,
            {
                "nobody": f"static:nobody={ADDRESS}:{nobody}",
                "silent": deaf.network,
                "incomplete": f"{world.spec()},{deaf_node}",
                "patient": f"--timeout 60 --network {deaf.network}",
                "held": str(taken.getsockname()[1]),
                "free": str(nobody),
                "here": f"--listen {ADDRESS}:{free_ports(1)[0]} --upstream 127.0.0.53",
                "taken": f"static:taken={ADDRESS}:{taken.getsockname()[1]}",
                **{name: str(directory / f"{name}.yaml") for name in ("good", "bad", "missing")},
            },
        )


def remember_the_deaf(stage: Stage, cache: Path) -> None:
    """Makes the deaf node one that answered a moment ago: what is owed an answer counts as silent."""
    now = time.time()
    manners = {"answered": now - 1, "missed": None, "idle": None, "rttMs": 1.0}
    node = stage.deaf.network.partition("=")[2]
    networks = {
        f"{stage.words[name]} minidisc.:28004": {"version": 1, "peers": {node: manners}}
        for name in ("silent", "incomplete")
    }
    (cache / "mddns").mkdir()
    (cache / "mddns" / "peers.json").write_text(json.dumps(networks))


@pytest.mark.parametrize("row", [pytest.param(row, id=f"{row.command}: {row.outcome}") for row in TABLE])
def test_a_command_ends_as_the_table_says(stage: Stage, row: Row, tmp_path: Path) -> None:
    remember_the_deaf(stage, tmp_path)
    args = [word.replace("\0", " ") for word in row.args.replace("\\ ", "\0").format(**stage.words).split(" ")]
    env = {"XDG_CACHE_HOME": str(tmp_path), "MDDNS_TIMEOUT": "0.4", **row.env}
    if row.signal:
        stage.deaf.forget()
        with stage.world.start(*args, env={**env, "MDDNS_TIMEOUT": None}, node="asker") as program:
            if row.after == "asked":
                stage.deaf.wait_for_question()
            else:
                program.wait_for(row.after, 20)
            program.signal(row.signal)
            code, out, err = program.wait(20), program.stdout, program.stderr
    else:
        done = stage.world.md(*args, env=env)
        code, out, err = done.returncode, done.stdout, done.stderr
    assert "Traceback" not in err
    assert (code, bool(re.fullmatch(row.out, out, re.DOTALL))) == (row.code, True), f"{out}\n{err}"
    assert re.fullmatch(row.err, err, re.DOTALL), err
    assert not re.search("(?m)^md: ", out), "talk is for stderr"


def test_every_command_has_its_outcomes() -> None:
    found = {name: {row.outcome for row in TABLE if row.command == name} for name in COMMANDS}
    for name in COMMANDS:
        command = group.get_command(click.Context(group), name)
        assert command is not None
        takes_options = {option.name for option in COMMON} <= {param.name for param in command.params}
        assert REQUIRED[name] | ALWAYS | ({"bad env"} if takes_options else set()) <= found[name], name


def test_an_outcome_of_a_command_stands_once() -> None:
    names = [(row.command, row.outcome) for row in TABLE]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("args", "code", "out"),
    [
        ([], 2, NONE),
        (["--version"], 0, rf".*{re.escape(__version__)}\n"),
        (["--help"], 0, r".*\bmd .*Find:.*"),
        (["fnid"], 2, NONE),
    ],
    ids=str,
)
def test_the_program_without_a_command_ends_so(stage: Stage, args: list[str], code: int, out: str) -> None:
    done = stage.world.md(*args)
    assert (done.returncode, bool(re.fullmatch(out, done.stdout, re.DOTALL))) == (code, True)
    assert bool(done.stderr) == (code != 0)


def test_options_before_a_command_count_as_those_behind_it(stage: Stage) -> None:
    done = stage.world.md("--network", stage.words["nobody"], "-o", "json", "list", env={"MDDNS_NETWORK": "nonsense"})
    assert (done.returncode, done.stdout) == (0, "[]\n")


def test_a_flag_counts_before_its_variable_and_behind_the_command_before_the_other(stage: Stage) -> None:
    done = stage.world.md("-o", "json", "list", "-o", "name", env={"MDDNS_OUTPUT": "wide"})
    assert done.stdout == "127.0.0.1:8080\n"
