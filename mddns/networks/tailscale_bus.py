"""tailscaled's ``watch-ipn-bus`` as a signal: any message means that something may have changed.

The content of the messages differs between versions, so it is not read: the caller reads the status instead.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Final

from ..base.errors import TailscaleError

# Bits: initial state (2), rate limit (256), changes of peers (4096). The last two cannot be combined.
MASK: Final = 4098
OLDER_MASK: Final = 258
_SINCE: Final = (1, 98)  # the first version that reports changes of peers
HEAD_WITHIN: Final = 5.0  # seconds
_MOST_HEAD: Final = 1 << 16
_CHUNK: Final = 1 << 16


def mask_for(version: str | None) -> int:
    """The mask for a daemon of that version, which is the text in its status."""
    found = re.match(r"(\d{1,4})\.(\d{1,4})", version or "")
    return OLDER_MASK if found and (int(found[1]), int(found[2])) < _SINCE else MASK


async def ring(path: str, mask: int) -> AsyncIterator[None]:
    """Yields at every message of the bus at socket `path`, until it ends. TailscaleError if it fails."""
    request = f"GET /localapi/v0/watch-ipn-bus?mask={mask} HTTP/1.0\r\nHost: local-tailscaled.sock\r\n\r\n"
    try:
        reader, writer = await asyncio.open_unix_connection(path, limit=_MOST_HEAD)
    except OSError as error:
        raise TailscaleError(f"cannot subscribe to changes at {path}: {error.strerror or error}") from error
    try:
        writer.write(request.encode())
        async with asyncio.timeout(HEAD_WITHIN):
            head = await reader.readuntil(b"\r\n\r\n")
        status = head.split(b" ", 2)[1:2]
        if status != [b"200"]:
            said = status[0].decode("ascii", "backslashreplace") if status else "no HTTP"
            raise TailscaleError(f"{path} refused the subscription to changes: {said}")
        # A part of a message yields as well as a whole one: the caller treats several in short time as one.
        while await reader.read(_CHUNK):
            yield
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        raise TailscaleError(f"the subscription to changes at {path} failed: {error}") from error
    finally:
        writer.transport.abort()
        await asyncio.sleep(0)  # the socket is closed in the next iteration of the loop, which may not come otherwise
