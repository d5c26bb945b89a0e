"""Whoever reads its events slowly is told what it missed: the difference, in few words, and never what is over."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from loopback import fleet, network_of
from program import MD, World

import mddns
from mddns import aio
from tests.watching.test_watcher import PATIENCE, eventually, registry, until

CHANGES = 60
PAUSE = 0.012  # seconds between changes: more often the serial does not move
LONG = {f"key-{number}": "x" * 240 for number in range(4)}
PIPE = 4096  # octets, which a few such events fill


def change(first: mddns.Registry) -> None:
    """Changes web all the while; meanwhile others come and go, one goes, and one comes to stay."""
    web, gone = first.services()
    handles = {service.name: first.advertise_service(service.endpoint.port, service.name) for service in (web, gone)}
    for number in range(CHANGES):
        handles["web"].update({"n": str(number), **LONG})
        passing = first.advertise_service(1000 + number, "passing")
        time.sleep(PAUSE)
        passing.withdraw()
    handles["gone"].withdraw()
    first.advertise_service(82, "new")


def offering(first: mddns.Registry) -> None:
    first.advertise_service(80, "web")
    first.advertise_service(81, "gone")


def test_a_blocking_program_that_does_not_read_is_told_the_difference() -> None:
    peers = fleet(1)
    with registry(peers[0], peers) as first, mddns.Resolver(network_of(None, peers)) as resolver:
        offering(first)
        with resolver.watch() as watch:
            until(watch, "current")
            change(first)
            assert eventually(lambda: bool(resolver.resolve("new")) and not resolver.resolve("gone"))
            assert len(watch._changes) < 10
            told = []
            while event := watch.next(0.5):
                told.append((event.kind, event.service.name if event.service else ""))
            assert set(told) == {("update", "web"), ("down", "gone"), ("up", "new"), ("leader", "new")}
            assert len(told) == 4


def test_a_coroutine_that_does_not_read_is_told_the_difference() -> None:
    peers = fleet(1)

    async def main() -> list[tuple[str, str]]:
        async with aio.Resolver(network_of(None, peers)) as resolver, resolver.watch() as watch:
            told: list[tuple[str, str]] = []
            async with asyncio.timeout(PATIENCE):
                while (await anext(watch)).kind != "current":
                    pass
            await asyncio.to_thread(change, first)
            while not await resolver.resolve("new"):
                await asyncio.sleep(0.01)
            async with asyncio.timeout(PATIENCE):
                while ("leader", "new") not in told:
                    event = await anext(watch)
                    told.append((event.kind, event.service.name if event.service else ""))
            return told

    with registry(peers[0], peers) as first:
        offering(first)
        told = asyncio.run(main())
    assert set(told) == {("update", "web"), ("down", "gone"), ("up", "new"), ("leader", "new")}
    assert len(told) == 4


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path, ("asker", "alpha")) as made:
        yield made


def test_md_watch_in_a_pipe_that_nobody_reads_goes_on_with_what_is_true_by_then(world: World) -> None:
    with (
        mddns.start_registry(world.spec("alpha")) as first,
        subprocess.Popen(
            [*MD, "watch", "-o", "jsonl"],
            env=world.env("asker"),
            stdout=subprocess.PIPE,
            pipesize=PIPE,
            text=True,
        ) as program,
    ):
        assert program.stdout
        try:
            offering(first)
            kind = ""
            while kind != "current":
                kind = json.loads(program.stdout.readline())["event"]
            change(first)
            time.sleep(0.2)
            standing: dict[str, str] = {"web": "", "gone": ""}
            count = 0
            while "new" not in standing or "gone" in standing or standing["web"] != str(CHANGES - 1):
                event = json.loads(program.stdout.readline())
                count += 1
                name = event["service"]["name"]
                if event["event"] == "down":
                    del standing[name]
                elif event["event"] in ("up", "update"):
                    assert (name in standing) == (event["event"] == "update"), event
                    standing[name] = event["service"]["labels"].get("n", "")
        finally:
            program.kill()
    assert count < CHANGES
