"""Checks over DNS whether the program that has a port of this machine is a registry."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterable
from typing import Final

from ..base.errors import BadMessage
from ..base.names import Name
from ..dns.message import QR, TXT, Message
from ..dns.writer import pack_query, random_ids

_EACH: Final = 0.25  # seconds for a response; short, as it comes from this machine
_TRIES: Final = 2
_LARGEST: Final = 65_535


async def is_registry(address: str, port: int, apexes: Iterable[Name]) -> bool:
    """Whether the port answers over UDP, for one of `apexes`, with a registry's TXT record of ``_mddns.<apex>``."""
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as asking,
    ):
        asking.setblocking(False)
        asking.connect((address, port))
        for apex in dict.fromkeys(apexes):
            qname = Name.of((b"_mddns",), apex).wire
            for ident in random_ids(_TRIES):
                asking.send(pack_query(qname, TXT, ident=ident, rd=False))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_EACH):
                        reply = await asyncio.get_running_loop().sock_recv(asking, _LARGEST)
                    if _tells(reply, qname, ident):
                        return True
    return False


def _tells(reply: bytes, qname: bytes, ident: int) -> bool:
    with contextlib.suppress(BadMessage):
        message = Message(reply)
        if message.flags & QR and message.id == ident and message.question.key == qname.lower():
            texts = [record for record in message.answer if record.rtype == TXT]
            return any(text.startswith(b"md.v=") for record in texts for text in message.strings(record))
    return False
