"""A file of services that changes while others ask: between hosts, with real files, signals and programs."""

from __future__ import annotations

import itertools
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import dns.rdatatype
import pytest
from bed.host import Host
from bed.hosts import PORT, Bed
from bed.process import Process, wait_until
from conftest import MakeBed, Measured

RELOADS = 100
ASK_EVERY = 0.01


def entry(name: str, port: int, **labels: str) -> str:
    return f"- {{name: {name}, address: ':{port}', labels: {json.dumps(labels)}}}\n"


def services(*entries: str) -> str:
    return "services:\n" + "".join(entries) if entries else "services: []\n"


def rename_over(path: Path, text: str) -> None:
    """What editors do: a new file, then a rename."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.rename(path)


class Asker(threading.Thread):
    """Asks a host for its own view (RD=0) over UDP, again and again; keeps every answer."""

    def __init__(self, host: Host, server: str) -> None:
        super().__init__(name="asker")
        self._socket = host.socket_udp(timeout=2.0)
        self._server = server
        self._ended = threading.Event()
        self.heard: list[dns.message.Message] = []
        self.failed: Exception | None = None

    def run(self) -> None:
        begun, idents = time.monotonic(), itertools.cycle(range(1, 65536))
        try:
            for number in itertools.count():
                query = dns.message.make_query("_list.minidisc", "PTR", id=next(idents), use_edns=0, payload=4096)
                query.flags = dns.flags.Flag(0)
                self._socket.sendto(query.to_wire(), (self._server, PORT))
                self.heard.append(dns.message.from_wire(self._socket.recv(65535)))
                if self._ended.wait(max(0.0, begun + (number + 1) * ASK_EVERY - time.monotonic())):
                    return
        except Exception as error:
            self.failed = error

    def __enter__(self) -> Asker:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join()
        self._socket.close()


def told(message: dns.message.Message) -> dict[str, str]:
    """Each instance of a `_list` answer by its first two labels, with its TXT."""
    texts = {
        rrset.name.to_text(): rrset.to_text().split("TXT ", 1)[1]
        for rrset in message.additional
        if rrset.rdtype == dns.rdatatype.TXT
    }
    targets = [rdata.target.to_text() for rrset in message.answer for rdata in rrset]
    return {".".join(target.split(".")[:2]): texts[target] for target in targets}


def since(text: str) -> str:
    return next(part for part in text.split('"') if part.startswith("md.since="))


class Advertising:
    """`md advertise FILE` on a host, and what is found of it."""

    def __init__(self, stack: ExitStack, host: Host, path: Path) -> None:
        self.host, self.path = host, path
        self.process: Process = stack.enter_context(host.start(["md", "advertise", str(path)]))
        self.process.wait_for("advertised")

    def found(self) -> dict[str, dict[str, Any]]:
        done = self.host.run(["md", "list", "-o", "json"])
        return {each["name"]: each for each in json.loads(done.stdout)}

    def said(self, text: str) -> int:
        return self.process.stderr.count(text)

    def said_soon(self, text: str, times: int = 1) -> None:
        assert wait_until(lambda: self.said(text) >= times), self.process.stderr


@pytest.fixture(scope="module")
def bed(make_module_bed: MakeBed) -> Bed:
    return make_module_bed(["alpha", "bravo"])


@pytest.fixture
def alpha(bed: Bed) -> Host:
    return bed.host("alpha")


@pytest.fixture
def advertise(alpha: Host, tmp_path: Path) -> Iterator[Callable[..., Advertising]]:
    """`advertise(text)`: `md advertise` of a file with that text, until the test ends."""
    with ExitStack() as stack:

        def start(text: str | None, name: str = "s.yaml") -> Advertising:
            path = tmp_path / name
            if text is not None:
                path.write_text(text)
            return Advertising(stack, alpha, path)

        yield start


# --- nothing vanishes -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["holder", "tenant"])
def asked(
    request: pytest.FixtureRequest, bed: Bed, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Asker, Advertising]:
    """What a host said, asked every 10 ms, while its file was replaced and SIGHUP sent 100 times.

    Once by the process whose file it is, once by another one of that host, which holds the port.
    """
    alpha, bravo = bed.host("alpha"), bed.host("bravo")
    path = tmp_path_factory.mktemp("asked") / "s.yaml"
    steady = entry("steady", 8080, env="prod")

    def text(number: int) -> str:
        turn = entry("odd", 8101) if number % 2 else entry("even", 8102)
        return services(turn, entry("moving", 8090, n=str(number)), steady)

    path.write_text(text(0))
    with ExitStack() as stack:
        if request.param == "tenant":
            stack.enter_context(alpha.start(["md", "advertise", "steady-too", ":9"])).wait_for("advertised")
        advertising = Advertising(stack, alpha, path)
        with Asker(bravo, alpha.ipv4) as asker:
            for number in range(1, RELOADS + 1):
                rename_over(path, text(number))
                advertising.process.signal(signal.SIGHUP)
                advertising.process.wait_for(f"changed: moving :8090 n={number},")
    return asker, advertising


def test_what_stays_is_in_every_answer_of_100_reloads(asked: tuple[Asker, Advertising], measured: Measured) -> None:
    asker, _ = asked
    assert asker.failed is None
    answers = [told(message) for message in asker.heard]
    assert len(answers) > RELOADS / 2
    assert [each for each in answers if "alpha-8080.steady" not in each] == []
    assert len({text for each in answers if (text := each["alpha-8080.steady"])}) == 1
    measured(f"{RELOADS} reloads, {len(answers)} answers: an unchanged service was in all of them")


def test_what_changes_is_in_every_answer_and_keeps_its_age(asked: tuple[Asker, Advertising]) -> None:
    texts = [told(message)["alpha-8090.moving"] for message in asked[0].heard]
    assert len(set(texts)) > 10
    assert len({since(text) for text in texts}) == 1


def test_no_answer_shows_half_of_a_file(asked: tuple[Asker, Advertising]) -> None:
    """Each has one of the two that take turns, and with it the label of its own turn."""
    seen = set()
    for message in asked[0].heard:
        instances = told(message)
        turns = {name.partition(".")[2] for name in instances} - {"steady", "steady-too", "moving"}
        number = next(part[2:] for part in instances["alpha-8090.moving"].split('"') if part.startswith("n="))
        assert turns == {"odd" if int(number) % 2 else "even"}
        seen |= turns
    assert seen == {"odd", "even"}


def test_each_change_of_100_reloads_is_said_once(asked: tuple[Asker, Advertising]) -> None:
    advertising = asked[1]
    assert advertising.said("changed: moving") == RELOADS
    assert advertising.said("added: ") == advertising.said("withdrawn: ") == RELOADS
    assert advertising.said("steady") == 0


# --- what is noticed --------------------------------------------------------------------------------------------------


def test_a_file_that_is_written_again_is_read_again(advertise: Callable[..., Advertising]) -> None:
    advertising = advertise(services(entry("web", 80)))
    advertising.path.write_text(services(entry("web", 80), entry("db", 5432, env="prod")))
    advertising.said_soon("md: added: db :5432 env=prod\n")
    assert set(advertising.found()) == {"web", "db"}


def test_a_file_that_an_editor_replaces_is_read_again(advertise: Callable[..., Advertising]) -> None:
    """Of the same size and time, so that its inode alone tells."""
    advertising = advertise(services(entry("web", 81)))
    old = advertising.path.stat()
    new = advertising.path.with_suffix(".new")
    new.write_text(services(entry("web", 82)))
    os.utime(new, ns=(old.st_atime_ns, old.st_mtime_ns))
    new.rename(advertising.path)
    advertising.said_soon("md: withdrawn: web :81\nmd: added: web :82\n")


def test_a_link_that_kubernetes_swaps_is_followed(advertise: Callable[..., Advertising], tmp_path: Path) -> None:
    """s.yaml -> ..data/s.yaml, and ..data -> ..1: only the last of them changes."""
    for version, port in (("..1", 81), ("..2", 82)):
        (tmp_path / version).mkdir()
        (tmp_path / version / "s.yaml").write_text(services(entry("web", port)))
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "s.yaml").symlink_to("..data/s.yaml")
    advertising = advertise(None)
    (tmp_path / "..data_tmp").symlink_to("..2")
    (tmp_path / "..data_tmp").rename(tmp_path / "..data")
    advertising.said_soon("added: web :82\n")
    assert advertising.found()["web"]["addrPort"].endswith(":82")


def test_a_zone_file_is_read_again(advertise: Callable[..., Advertising]) -> None:
    zone = "@ NS ns\nweb SRV 10 10 80 host\nhost A 100.64.0.9\n"
    advertising = advertise(zone, "s.zone")
    rename_over(advertising.path, zone + "db SRV 5 10 5432 host\n")
    advertising.said_soon("added: --priority 5 db 100.64.0.9:5432\n")
    assert advertising.said("NS skipped") == 1


def test_sighup_says_so_where_nothing_is_different(advertise: Callable[..., Advertising]) -> None:
    advertising = advertise(services(entry("web", 80)))
    advertising.process.signal(signal.SIGHUP)
    advertising.said_soon(f"md: {advertising.path} was read again; nothing has changed\n")
    assert advertising.process.terminate() == 0


def test_a_file_without_services_is_right_and_may_get_some(advertise: Callable[..., Advertising]) -> None:
    advertising = advertise(services())
    assert advertising.found() == {}
    rename_over(advertising.path, services(entry("web", 80)))
    advertising.said_soon("added: web :80\n")
    assert set(advertising.found()) == {"web"}


# --- a file that is wrong ---------------------------------------------------------------------------------------------


def test_a_wrong_file_keeps_all_as_it_was_and_is_told_once(advertise: Callable[..., Advertising]) -> None:
    advertising = advertise(services(entry("web", 80)))
    before = advertising.found()
    rename_over(advertising.path, services("- {name: ns, address: ':0'}\n"))
    advertising.said_soon("so the services stay unchanged")
    faults = [line for line in advertising.process.stderr.splitlines() if "s.yaml:2:" in line]
    assert [line.split(": ")[2] for line in faults] == ["services[0].address", "services[0].name"]
    after = advertising.found()
    assert after.keys() == before.keys()
    assert after["web"]["since"] == before["web"]["since"]
    # Asked for, it is told again; put right, it goes on; and it ends as ever.
    advertising.process.signal(signal.SIGHUP)
    advertising.said_soon("so the services stay unchanged", times=2)
    assert advertising.said("services[0].name") == 2
    rename_over(advertising.path, services(entry("web", 80), entry("db", 5432)))
    advertising.said_soon("added: db :5432\n")
    assert advertising.found()["web"]["since"] == before["web"]["since"]
    assert advertising.process.terminate() == 0


@pytest.mark.parametrize("kind", ["gone", "empty", "directory", "pipe", "twice"])
def test_whatever_becomes_of_a_file_all_stays_as_it_was(
    advertise: Callable[..., Advertising], alpha: Host, kind: str
) -> None:
    advertising = advertise(services(entry("web", 80)))
    path = advertising.path
    if kind == "twice":  # which shows only where our own address is known
        other = f"- {{name: WEB, address: '{alpha.ipv4}:80'}}\n"
        rename_over(path, services(entry("web", 80), other))
    elif kind == "empty":
        path.write_text("")
    else:
        path.unlink()
        if kind == "directory":
            path.mkdir()
        elif kind == "pipe":
            os.mkfifo(path)
    advertising.process.signal(signal.SIGHUP)
    advertising.said_soon("has errors, so the services stay unchanged")
    assert set(advertising.found()) == {"web"}
    assert advertising.process.terminate() == 0
    assert "Traceback" not in advertising.process.stderr


def test_a_file_is_not_read_while_it_is_written(advertise: Callable[..., Advertising]) -> None:
    """Written piece by piece, it is wrong at every moment but the last."""
    advertising = advertise(services(entry("web", 80)))
    text = services(entry("web", 80), *(entry("many", port, text="x" * 40) for port in range(1000, 1020)))
    with advertising.path.open("w") as file:
        for at in range(0, len(text), len(text) // 12):
            file.write(text[at : at + len(text) // 12])
            file.flush()
            time.sleep(0.05)  # a slow writer
    advertising.said_soon("added: many :1019")
    assert advertising.said("wrong") == 0


def test_one_endpoint_under_two_words_is_a_fault_at_the_start(alpha: Host) -> None:
    (alpha.directory / "s.yaml").write_text(
        services(entry("web", 80), f"- {{name: web, address: '{alpha.ipv4}:80'}}\n")
    )
    done = alpha.run(["md", "advertise", "s.yaml"])
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "md: s.yaml:3: 'web' has the same address as that of s.yaml:2; remove one of them\n"


def test_a_handle_outlives_a_replace_in_asyncio(alpha: Host) -> None:
    program = """
import asyncio, mddns.aio
from mddns.base.offer import make
async def main():
    async with await mddns.aio.start_registry() as registry:
        web = registry.advertise_service(80, "web")
        before = web.service.since
        registry.replace([make(80, "web", {"a": "b"}), make(81, "db")])
        print(web.service.labels, web.service.since == before, sorted(s.name for s in registry.services()))
asyncio.run(main())
"""
    done = alpha.run(["python", "-W", "error", "-c", program])
    assert (done.stdout, done.stderr) == ("{'a': 'b'} True ['db', 'web']\n", "")
