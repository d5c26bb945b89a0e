"""tailscaled's ``watch-ipn-bus`` as a door-bell: whatever it says, something may have changed.

What the messages hold has changed from version to version, so nothing of it is read: whoever hears the bell reads
the status.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Final

from ..base.errors import TailscaleError

# Bits: the state at first (2), rate-limited (256), changes of peers (4096). The last two do not go together.
MASK: Final = 4098
OLDER_MASK: Final = 258
_SINCE: Final = (1, 98)  # the version that knows changes of peers
HEAD_WITHIN: Final = 5.0  # seconds
_MOST_HEAD: Final = 1 << 16
_CHUNK: Final = 1 << 16


def mask_for(version: str | None) -> int:
    """The mask for a daemon of that version (as its status tells it)."""
    found = re.match(r"(\d{1,4})\.(\d{1,4})", version or "")
    return OLDER_MASK if found and (int(found[1]), int(found[2])) < _SINCE else MASK


async def ring(path: str, mask: int) -> AsyncIterator[None]:
    """Yields whenever the bus at socket `path` says something, until it ends. TailscaleError where it cannot."""
    request = f"GET /localapi/v0/watch-ipn-bus?mask={mask} HTTP/1.0\r\nHost: local-tailscaled.sock\r\n\r\n"
    try:
        reader, writer = await asyncio.open_unix_connection(path, limit=_MOST_HEAD)
    except OSError as error:
        raise TailscaleError(f"{path} cannot be listened to: {error.strerror or error}") from error
    try:
        writer.write(request.encode())
        async with asyncio.timeout(HEAD_WITHIN):
            head = await reader.readuntil(b"\r\n\r\n")
        status = head.split(b" ", 2)[1:2]
        if status != [b"200"]:
            said = status[0].decode("ascii", "backslashreplace") if status else "no HTTP"
            raise TailscaleError(f"{path} does not let us listen: {said}")
        # Pieces of a message ring as well as whole ones; who listens takes several rings for one.
        while await reader.read(_CHUNK):
            yield
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        raise TailscaleError(f"{path} broke off: {error}") from error
    finally:
        writer.transport.abort()
        await asyncio.sleep(0)  # the socket is closed in the next turn of the loop, which may have been the last
