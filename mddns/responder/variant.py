"""What an answer depends on apart from its question: the size limit, header flags, EDNS."""

from __future__ import annotations

from typing import NamedTuple

from ..dns.message import CD, QR, RD
from ..dns.writer import opt_record

Errors = tuple[tuple[int, str], ...]  # Extended DNS Errors: info-code and text


class Variant(NamedTuple):
    """How the client wants its answer. The same question and Variant give the same answer. `limit` is in octets."""

    limit: int
    rd: bool
    cd: bool
    edns: bool
    do: bool

    def flags(self, rcode: int, bits: int) -> int:
        """Returns the second 16 bits of the answer's header."""
        return QR | bits | (RD if self.rd else 0) | (CD if self.cd else 0) | rcode & 0xF

    def opt(self, errors: Errors, rcode: int = 0) -> bytes:
        """Returns the OPT record of the answer; empty if the client sent none."""
        return opt_record(rcode, do=self.do, errors=errors) if self.edns else b""
