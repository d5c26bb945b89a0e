"""The sockets of a host, on loopback: who was replaced while it was stopped answers no more, however it is asked."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from loopback import QUERY, Client, address, echo, free_port

from mddns.host.host_sockets import HostSockets
from mddns.server.binding import bind_tcp
from mddns.server.push_sessions import Sessions


def test_what_came_on_a_connection_while_another_process_took_over_is_left_to_that_one() -> None:
    async def main() -> None:
        ours, place = True, (address(), free_port())
        web: Any = None  # which nobody asks for
        sessions = Sessions(lambda name, qtype: frozenset(), lambda source: True, lambda: 0.0)
        sockets = HostSockets(echo, dict, web, sessions, lambda: ours, asyncio.get_running_loop())
        sockets.add(("tcp", place[0]), bind_tcp(*place))
        sockets.read()
        try:
            async with asyncio.timeout(10), Client.to(place) as client:
                client.say(QUERY)
                assert await client.hear() == 2 * QUERY
                ours = False
                client.say(QUERY)
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(client.hear(), 0.1)
        finally:
            sockets.close()
            await asyncio.sleep(0.01)  # connections end with the loop's next turns

    asyncio.run(main())
