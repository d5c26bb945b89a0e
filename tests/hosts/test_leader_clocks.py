"""Who leads where clocks are wrong, as the real programs say it, each on a host with a clock of its own."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from bed.dig import need
from bed.process import Process
from program import ADDRESS, World

PATIENCE = 20.0
HOUR = 3600
# Seconds by which a host's clock is ahead: it booted in 1970, it is an hour behind, right, an hour ahead.
CLOCKS = {"pi": 30 - int(time.time()), "late": -HOUR, "alpha": 0, "fast": HOUR}
READERS = pytest.mark.parametrize("reader", CLOCKS)
# It is read anew each time: somebody may set the clock.
SITE = """
import os, time
from pathlib import Path
_right, _ahead = time.time, Path(os.environ["AHEAD"])
time.time = lambda: _right() + int(_ahead.read_text())
"""


class Clocks:
    """Hosts with the clocks of `CLOCKS`, and what their programs say."""

    def __init__(self, world: World) -> None:
        self.world = world
        site = world.directory / "site"
        site.mkdir()
        (site / "sitecustomize.py").write_text(SITE)
        self._path = os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH"))))
        for host, ahead in CLOCKS.items():
            self._set(host, ahead)

    @contextmanager
    def set_right(self, host: str) -> Iterator[None]:
        """Somebody sets the clock of `host`; in the end it is wrong again."""
        self._set(host, 0)
        try:
            yield
        finally:
            self._set(host, CLOCKS[host])

    def start(self, host: str, *args: str) -> Process:
        """Starts `md` there."""
        return self.world.start(*args, node=host, env=self._env(host))

    def offer(self, host: str, name: str) -> Process:
        """Offers a service there, at the port that stands for the host."""
        process = self.start(host, "advertise", name, f":{port_of(host)}")
        process.wait_for("advertised", PATIENCE)
        return process

    def leader(self, reader: str, name: str) -> str:
        """Who leads, by `md leader` on the host `reader`."""
        env = {**self._env(reader), "MDDNS_NETWORK": self.world.spec(reader)}
        (service,) = json.loads(self.world.md("leader", name, "-o", "json", env=env).stdout)
        return host_at(service)

    def watch(self, reader: str) -> Process:
        """`md watch` there, which has told what there is."""
        process = self.start(reader, "watch", "-o", "jsonl")
        process.wait_for('"current"', PATIENCE)
        return process

    def dig(self, reader: str, name: str) -> str:
        """Who leads, by the answer of the host `reader` to a question about the whole network."""
        need("dig")
        asked = [f"@{ADDRESS}", "-p", str(self.world.ports[reader]), f"leader.{name}.minidisc", "SRV", "+rec", "+short"]
        done = subprocess.run(["dig", *asked], capture_output=True, text=True, check=True, timeout=PATIENCE)
        return next(host for host in CLOCKS if done.stdout.split()[2] == str(port_of(host)))

    def _set(self, host: str, ahead: int) -> None:
        new = self.world.directory / "new"
        new.write_text(str(ahead))
        new.rename(self._file(host))

    def _file(self, host: str) -> Path:
        return self.world.directory / f"ahead-of-{host}"

    def _env(self, host: str) -> dict[str, str]:
        return {"PYTHONPATH": self._path, "AHEAD": str(self._file(host))}


def port_of(host: str) -> int:
    return 81 + list(CLOCKS).index(host)


def host_at(service: dict[str, str]) -> str:
    return next(host for host in CLOCKS if service["addrPort"].endswith(f":{port_of(host)}"))


def told(watch: Process, name: str) -> list[str]:
    """Who led the services of `name`, one after the other."""
    events = [json.loads(line) for line in watch.stdout.splitlines()]
    services = [event["service"] for event in events if event["event"] == "leader"]
    return [host_at(service) for service in services if service["name"] == name]


@pytest.fixture(scope="module")
def clocks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clocks]:
    """`web` on three hosts, of which the one with a right clock comes last; `odd` on those with wrong ones alone."""
    with World(tmp_path_factory.mktemp("clocks"), tuple(CLOCKS)) as world:
        made = Clocks(world)
        for host in ("pi", "fast", "alpha"):
            made.offer(host, "web")
        for host in ("pi", "fast"):
            made.offer(host, "odd")
        made.offer("late", "db")
        yield made


def test_the_clocks_are_wrong(clocks: Clocks) -> None:
    """Else the other tests here would tell nothing."""
    now = time.time()
    listed = json.loads(clocks.world.md("list", "web", "-o", "json").stdout)
    since = {host_at(each): each["since"] / 1000 for each in listed}
    assert since["pi"] < 3600
    assert now - 60 < since["alpha"] <= now
    assert now + HOUR - 60 < since["fast"] <= now + HOUR


@READERS
def test_md_leader_names_the_one_with_a_right_clock(clocks: Clocks, reader: str) -> None:
    assert clocks.leader(reader, "web") == "alpha"


@READERS
def test_md_watch_names_the_same(clocks: Clocks, reader: str) -> None:
    with clocks.watch(reader) as watch:
        assert told(watch, "web")[-1] == "alpha"
        assert told(watch, "odd")[-1] == "fast"


@READERS
def test_each_host_answers_with_the_same_leader(clocks: Clocks, reader: str) -> None:
    assert clocks.dig(reader, "web") == "alpha"


@READERS
def test_where_all_clocks_are_wrong_every_reader_names_the_same(clocks: Clocks, reader: str) -> None:
    assert clocks.leader(reader, "odd") == clocks.dig(reader, "odd") == "fast"


def test_nobody_else_leads_when_a_clock_is_set(clocks: Clocks) -> None:
    with clocks.watch("pi") as watch:
        before = {name: told(watch, name) for name in ("web", "odd")}
        # What is offered gives whoever answers and whoever watches there something to do.
        with clocks.set_right("pi"), clocks.offer("pi", "later"):
            watch.wait_for('"later"', PATIENCE)
            said = {name: (clocks.leader("pi", name), clocks.dig("pi", name)) for name in before}
        assert {name: told(watch, name) for name in before} == before
    assert said == {"web": ("alpha", "alpha"), "odd": ("fast", "fast")}
