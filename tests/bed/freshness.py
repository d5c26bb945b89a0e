"""Measures how soon the change of a host appears in the responses of another host."""

from __future__ import annotations

import socket
import time

import dns.message


def seen_by_questions(at: str, count: int, port: int = 53, patience: float = 30.0) -> list[float]:
    """Queries the label ``t`` of ``web``, the time of its last change; how old each new value was at first sight."""
    took, last, until = [], "", time.monotonic() + patience
    query = dns.message.make_query("web.minidisc", "TXT").to_wire()
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.connect((at, port))
        sock.settimeout(5)
        while len(took) < count and time.monotonic() < until:
            sock.send(query)
            wire = sock.recv(4096)
            now = time.monotonic()
            said = [bytes(rdata.strings[0]).decode() for rrset in dns.message.from_wire(wire).answer for rdata in rrset]
            if said and said[0].startswith("t=") and said[0] != last:
                last = said[0]
                took.append(now - float(last[2:]))
            time.sleep(0.001)
    return took
