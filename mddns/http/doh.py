"""DNS over HTTP (RFC 8484): ``/dns-query``, for stubs that take a URL instead of an address.

Split DNS under headscale is such a stub: it posts messages to ``http://node:28004/dns-query``. A stub wants to
know what the network offers, so every question is answered from the merged view.
"""

from __future__ import annotations

import binascii
from collections.abc import Awaitable, Callable
from typing import Final

from ..base.errors import BadMessage
from ..codec.instance_records import TTL
from ..dns.message import MAX_MESSAGE, NOERROR, NOTIMP, NXDOMAIN, SOA, Message
from ..responder.compose import compose_header
from ..responder.reaction import Messages
from .dispatch import plain
from .messages import Request, Response

MEDIA_TYPE: Final = "application/dns-message"
_BASE64URL: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
_QR, _RD = 0x80, 0x01  # in the header's third octet

# Returns the answer to one message from an address, as for a listener.
Asking = Callable[[bytes, str], bytes | Messages | Awaitable[bytes] | None]


class DnsQuery:
    """The handlers for GET and POST."""

    def __init__(self, answering: Asking) -> None:
        self._answering = answering

    def get(self, request: Request) -> Response | Awaitable[Response]:
        """Answers a GET: ``?dns=`` has the message in base64url, without padding (RFC 8484 4.1)."""
        given = request.query.get("dns", ())
        if len(given) != 1 or not given[0]:
            return plain(400, "there must be one query parameter 'dns': a DNS message in base64url, without padding")
        if not _BASE64URL.issuperset(given[0]):
            return plain(400, "the query parameter 'dns' must be base64url without padding")
        from base64 import urlsafe_b64decode  # only needed for HTTP

        try:
            wire = urlsafe_b64decode(given[0] + "=" * (-len(given[0]) % 4))
        except binascii.Error:
            return plain(400, "the query parameter 'dns' must be base64url without padding")
        return self._ask(wire, request.address)

    def post(self, request: Request) -> Response | Awaitable[Response]:
        """Answers a POST, whose body is the message."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != MEDIA_TYPE:
            return plain(415, f"the body's Content-Type must be {MEDIA_TYPE}")
        return self._ask(request.body, request.address)

    def _ask(self, wire: bytes, address: str) -> Response | Awaitable[Response]:
        if len(wire) > MAX_MESSAGE:
            return plain(413, f"a DNS message has at most {MAX_MESSAGE} octets")
        if len(wire) < 12 or wire[2] & _QR:
            return plain(400, "this message is not a DNS query")
        # RD=1 selects the merged view; the answer then gets the RD bit of the query.
        answer = self._answering(wire[:2] + bytes((wire[2] | _RD,)) + wire[3:], address)
        if isinstance(answer, Messages):
            answer = compose_header(wire, wire[2] << 8 | wire[3], NOTIMP)  # RFC 8484 has no zone transfer
        if answer is None or isinstance(answer, bytes):
            return _response(wire, answer)
        return _later(wire, answer)


async def _later(wire: bytes, answer: Awaitable[bytes]) -> Response:
    return _response(wire, await answer)


def _response(wire: bytes, answer: bytes | None) -> Response:
    if answer is None:
        return plain(503, "too many queries wait for answers of the network: try again")
    answer = answer[:2] + bytes((answer[2] & ~_RD | wire[2] & _RD,)) + answer[3:]
    return Response(200, answer, MEDIA_TYPE, (("Cache-Control", f"max-age={lifetime(answer)}"),))


def lifetime(answer: bytes) -> int:
    """Returns for how many seconds an answer may be cached: its smallest TTL, or that of the SOA (RFC 8484 5.1)."""
    try:
        message = Message(answer)
    except BadMessage:
        return 0  # the answer is only a header
    if message.rcode not in (NOERROR, NXDOMAIN):
        return 0
    records = message.answer
    if not records:
        records = [record for record in message.authority if record.rtype == SOA]
        least = [int.from_bytes(answer[record.end - 4 : record.end], "big") for record in records]  # RFC 2308 5
    else:
        least = []
    return min((TTL, *least, *(record.ttl for record in records))) if records else 0
