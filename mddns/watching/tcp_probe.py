"""Finds out over TCP whether a process still answers at a port.

Kernels limit the rate of their replies for closed UDP ports, but not for closed TCP ports, and a refused connection is
certain. But a process that dies ends its connections before it stops listening, on a busy machine some time before. A
new connection in between is accepted by the kernel, and then ended.
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
AGAIN: Final = 0.005  # seconds until the next connection after one that was ended


async def nobody_answers(addresses: Sequence[str], port: int, apex: Name) -> bool:
    """Whether the host at `addresses` refuses connections to `port` at each of them. False if it does not reply."""
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
    """Whether a connection is ended without an answer. Raises ConnectionRefusedError if it is refused."""
    reader, writer = await asyncio.open_connection(address, port)
    try:
        writer.write(query)
        return not await reader.read(1)
    except ConnectionResetError:
        return True
    finally:
        writer.transport.abort()
