"""Asks by TCP whether anybody still answers at a port.

Kernels ration what they say of closed ports of UDP, not of TCP, and what they say is certain. But whoever dies ends
its connections before it stops listening, and on a busy machine some time before: whoever knocks then is let in by
the kernel, and cut off.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from ..base.names import Name
from ..dns.dso import framed
from ..dns.message import SOA
from ..dns.writer import pack_query, random_ids

WITHIN: Final = 0.5  # seconds, for each address
AGAIN: Final = 0.005  # seconds until whoever was cut off knocks again


async def nobody_answers(addresses: Sequence[str], port: int, apex: Name) -> bool:
    """Whether the host at these addresses says that nobody accepts connections there. False where it says nothing."""
    query = framed(pack_query(apex.wire, SOA, ident=random_ids(1)[0], rd=False))
    for address in addresses:
        try:
            async with asyncio.timeout(WITHIN):
                while await _is_cut_off(address, port, query):
                    await asyncio.sleep(AGAIN)
        except ConnectionRefusedError:
            continue
        except OSError:
            return False
        return False
    return True


async def _is_cut_off(address: str, port: int, query: bytes) -> bool:
    """Whether a connection is ended without an answer. ConnectionRefusedError where there is none to be had."""
    reader, writer = await asyncio.open_connection(address, port)
    try:
        writer.write(query)
        return not await reader.read(1)
    except ConnectionResetError:
        return True
    finally:
        writer.transport.abort()
