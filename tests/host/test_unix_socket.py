"""What the processes of a host share: the lines between them, and the page that says who is the holder."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from mddns.host.unix_socket import TABLE, UPDATE, Line, Page, has_ended, life


@pytest.fixture
def page() -> Iterator[Page]:
    made = Page.create()
    yield made
    made.close()


def test_one_of_many_registries_of_a_process_gets_the_next_generation(page: Page) -> None:
    """The kernel's lock is of a process, so it does not keep two threads of one apart."""

    class Slow(Page):
        @property
        def generation(self) -> int:
            found = super().generation
            time.sleep(0.005)  # as if the other thread had its turn just then
            return found

    page = Slow(os.dup(page.descriptor))
    for known in range(5):
        got: list[int] = []
        start = threading.Barrier(4)

        def claim(known: int = known, got: list[int] = got, start: threading.Barrier = start) -> None:
            start.wait()
            if generation := page.claim(known, 1.0):
                got.append(generation)

        threads = [threading.Thread(target=claim) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert got == [known + 1]
    page.close()


def test_a_sign_of_life_of_one_who_was_replaced_meanwhile_changes_no_generation(page: Page) -> None:
    """It was stopped between its look at the generation and its sign of life."""
    page.claim(0, 1.0)
    assert page.beat(1, 2.0)
    other = Page(os.dup(page.descriptor))
    looks = iter([1])
    stale = type("Stale", (Page,), {"generation": property(lambda self: next(looks))})(os.dup(page.descriptor))
    other.claim(1, 3.0)
    assert stale.beat(1, 4.0)
    assert other.generation == 2
    assert not page.beat(1, 5.0)
    other.close()
    stale.close()


def test_the_age_is_that_of_the_last_sign_of_life(page: Page) -> None:
    page.claim(0, 1.0)
    page.beat(1, 2.5)
    assert page.age(4.0) == 1.5


def test_a_process_that_was_killed_has_ended_also_before_its_parent_has_seen_it() -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        told = f"{process.pid} {life().split()[1]}"
        assert not has_ended(told)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert has_ended(told)
    assert has_ended(told)


@pytest.mark.parametrize("told", ["", "x 1", "99999", "99999 1", "9" * 99])
def test_of_whom_it_cannot_be_seen_nothing_is_said(told: str) -> None:
    """A pid of another container is nobody's here, or somebody else's."""
    assert not has_ended(told)


def test_we_ourselves_have_not_ended() -> None:
    assert not has_ended(life())


def test_what_was_said_before_the_other_side_went_counts_also_where_we_speak_before_we_have_read_it() -> None:
    """As a tenant does that was stopped, and has news of its own when it goes on."""
    heard: list[bytes | None] = []

    async def main() -> None:
        ours, theirs = socket.socketpair()
        line = Line(
            ours, asyncio.get_running_loop(), lambda kind, payload, _: heard.append(payload), lambda: heard.append(None)
        )
        holder = Line(theirs, asyncio.get_running_loop(), lambda *_: None, lambda: None)
        with open(os.devnull) as file:
            holder.send(TABLE, b"first", [file.fileno()])
        holder.send(TABLE, b"second")
        holder.close()
        line.send(UPDATE, b"ours")
        line.send(UPDATE, b"ours")

    asyncio.run(main())
    assert heard == [b"first", b"second", None]
