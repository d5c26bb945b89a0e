"""The holder's side of the Unix socket: what becomes of a tenant's services when its line ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from loopback import fleet

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
