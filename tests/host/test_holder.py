"""The holder's side of the Unix socket: what becomes of a tenant's services when its line ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import pytest
from loopback import fleet

from mddns.codec.update import updates
from mddns.host.unix_socket import TABLE
from mddns.node import Node
from tests.watching.test_mirrors_by_apex import PATIENCE, eventually, opened


def ports(node: Node) -> set[int]:
    return {service.endpoint.port for service in node.table.services()}


def run(work: Callable[[Node, Node], Awaitable[None]]) -> None:
    """With a holder that offers port 80, and its tenant that offers 81."""

    async def main() -> None:
        (peer,) = fleet(1)
        async with asyncio.timeout(PATIENCE):
            holder, tenant = [await opened(peer, (peer,), port) for port in (80, 81)]
            try:
                await eventually(lambda: ports(holder) == {80, 81})
                await work(holder, tenant)
            finally:
                await tenant.close()
                await holder.close()

    asyncio.run(main())


def test_a_tenant_that_looks_for_another_holder_and_finds_the_same_was_never_away() -> None:
    """As where the holder had no turn for a moment."""

    async def work(holder: Node, tenant: Node) -> None:
        tenant.role._move(at_once=False)
        while tenant.role._tenant_side.joined:
            await asyncio.sleep(0)
        seen = []
        while not tenant.role._tenant_side.joined:
            seen.append(ports(holder))
            await asyncio.sleep(0)
        await tenant.settled()
        assert {80, 81} in seen
        assert {80} not in seen

    run(work)


def test_what_a_tenant_offered_that_has_left_for_good_is_gone_in_a_moment() -> None:
    async def work(holder: Node, tenant: Node) -> None:
        await tenant.close()
        await eventually(lambda: ports(holder) == {80})

    run(work)


def test_a_tenant_that_does_not_come_back_is_waited_for_no_longer_than_after_a_change_of_holder() -> None:
    async def work(holder: Node, tenant: Node) -> None:
        tenant.role._tenant_side.leave(moving=True)
        await asyncio.sleep(0.1)
        assert ports(holder) == {80, 81}
        await eventually(lambda: ports(holder) == {80})

    run(work)


@pytest.mark.parametrize("last", ["what it offers", "what it withdraws"])
def test_the_table_of_a_process_that_has_just_ended_is_passed_over_without_a_word(
    last: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The holder had the message of a process in its hands when the line of that process ended."""

    async def work(holder: Node, tenant: Node) -> None:
        services = holder.table.of(holder.table.number)
        added, withdrawn = (services, ()) if last == "what it offers" else ((), services)
        (update,) = updates(added, withdrawn, holder.table.apex)
        before = ports(tenant)
        tenant.role._tenant_side._on_frame(TABLE, (12345).to_bytes(8, "big") + update, [])
        assert ports(tenant) == before
        assert tenant.table.of(12345) == []

    run(work)
    assert not [record.message for record in caplog.records if record.levelno >= logging.WARNING]
