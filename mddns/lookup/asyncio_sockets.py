"""Runs a lookup in an asyncio event loop, with the same :class:`~mddns.lookup.sockets.Exchange`."""

from __future__ import annotations

import asyncio
import contextlib

from .fanout import Lookup
from .sockets import Clock, Exchange


async def run(lookup: Lookup, clock: Clock) -> None:
    """Runs `lookup` until it is done, at most for its timeout. Cancelling closes the sockets."""
    loop = asyncio.get_running_loop()
    with contextlib.closing(Exchange(lookup, clock)) as exchange:
        woken = asyncio.Event()
        loop.add_reader(exchange.selector.fileno(), woken.set)
        try:
            while (when := exchange.step()) is not None:
                woken.clear()
                timer = loop.call_later(max(0.0, when - clock()), woken.set)
                try:
                    await woken.wait()
                finally:
                    timer.cancel()
        finally:
            loop.remove_reader(exchange.selector.fileno())
