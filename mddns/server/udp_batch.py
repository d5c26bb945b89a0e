"""Reads and answers many datagrams with two system calls, recvmmsg(2) and sendmmsg(2), for a socket under load.

Python does not provide these calls, so this module uses ctypes. Each datagram costs less than with recvfrom and
sendto, which make objects for each address and buffer. For few datagrams that is not worth the memory.
"""

from __future__ import annotations

import ctypes
import socket
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

from ..responder.hot_answers import COOKIE_OCTETS, Kept

SLOTS: Final = 64  # datagrams at a time
OCTETS: Final = 1472  # of a question, and of a ready answer; not a power of two, for the sake of the CPU's caches
_MOST_KNOWN: Final = 10_000

Source = tuple[Any, ...]  # as sendto takes it


class _Iovec(ctypes.Structure):
    """struct iovec, readv(2)."""

    _fields_ = (("base", ctypes.c_void_p), ("size", ctypes.c_size_t))


class _Msghdr(ctypes.Structure):
    """struct msghdr, recvmsg(2)."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_size", ctypes.c_uint32),
        ("vectors", ctypes.c_void_p),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_size", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Mmsghdr(ctypes.Structure):
    """struct mmsghdr, recvmmsg(2)."""

    _fields_ = (("header", _Msghdr), ("size", ctypes.c_uint))


class Batch:
    """Reads and answers one UDP socket, 64 datagrams at a time. Raises OSError if the system has no such calls.

    `react(wire, source)` is called for each question whose answer is not in the cache, and answers it.
    """

    def __init__(self, sock: socket.socket, react: Callable[[bytes, Source], None]) -> None:
        try:
            library = ctypes.CDLL(None)
            self._receive, self._send = library.recvmmsg, library.sendmmsg
        except AttributeError as error:
            raise OSError(f"no such system call: {error}") from error
        told = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)
        self._receive.argtypes, self._send.argtypes = (*told, ctypes.c_void_p), told
        self._sock = sock
        self._react = react
        self._family = sock.family
        # The size of struct sockaddr_in6 or sockaddr_in, and the offsets of the address in it.
        self._name_size, self._at, self._end = (28, 8, 24) if self._family == socket.AF_INET6 else (16, 4, 8)
        self._known: dict[bytes, str] = {}
        # A slice of an array of c_char is bytes; typeshed cannot express that.
        self._names: Any = (ctypes.c_char * (SLOTS * self._name_size))()
        self._asked: Any = (ctypes.c_char * (SLOTS * OCTETS))()
        answers = (ctypes.c_char * (SLOTS * OCTETS))()
        self._answers = memoryview(answers).cast("B")
        self._vectors = (_Iovec * (3 * SLOTS))()
        self._incoming, self._outgoing = (_Mmsghdr * SLOTS)(), (_Mmsghdr * SLOTS)()
        for slot in range(SLOTS):
            asked = ctypes.addressof(self._asked) + slot * OCTETS
            # An answer has the message ID of its question, which is sent from the buffer that received it.
            for vector, base, size in ((0, asked, OCTETS), (1, asked, 2), (2, ctypes.addressof(answers), 0)):
                self._vectors[3 * slot + vector] = _Iovec(base + (slot * OCTETS if vector == 2 else 0), size)
            name = ctypes.addressof(self._names) + slot * self._name_size
            vectors = ctypes.addressof(self._vectors) + 3 * slot * ctypes.sizeof(_Iovec)
            self._incoming[slot].header = _Msghdr(name, self._name_size, vectors, 1)
            self._outgoing[slot].header = _Msghdr(name, self._name_size, vectors + ctypes.sizeof(_Iovec), 2)
        word, words = ctypes.sizeof(ctypes.c_uint), ctypes.sizeof(_Mmsghdr) // ctypes.sizeof(ctypes.c_uint)
        # The length of each question, and of each answer without its message ID.
        self._lengths = memoryview(self._incoming).cast("B").cast("I")[_Mmsghdr.size.offset // word :: words]
        self._sizes = memoryview(self._vectors).cast("B").cast("L")[5::6]  # unsigned long: size_t, on Linux

    def serve(self, hot: Mapping[str, Kept]) -> None:
        """Reads and answers the datagrams that wait, as many as there are slots."""
        count: int = self._receive(
            self._sock.fileno(), ctypes.addressof(self._incoming), SLOTS, socket.MSG_DONTWAIT, None
        )
        if count <= 0:
            return  # no datagram waits, or an ICMP error for an earlier answer
        asked, answers, names, known = self._asked, self._answers, self._names, self._known
        lengths, sizes, stride, begun = self._lengths, self._sizes, self._name_size, 0
        at, name_at, name_end = 0, self._at, self._end
        for slot in range(count):
            ready = None
            rest = asked[at + 2 : at + lengths[slot]]
            kept = hot.get(known.get(raw := names[name_at:name_end]) or self._text(raw))
            if kept is not None:
                plain, cookies = kept
                ready = plain.get(rest) or cookies.get(rest[:-COOKIE_OCTETS])
            if ready is not None and len(ready[0]) <= OCTETS:
                answer, tally = ready
                tally["udp"] += 1
                answers[at : at + len(answer)] = answer
                sizes[slot] = len(answer)
            else:
                self._flush(begun, slot)
                begun = slot + 1
                self._react(asked[at : at + lengths[slot]], self._source(slot))
            at += OCTETS
            name_at += stride
            name_end += stride
        self._flush(begun, count)

    def _flush(self, begun: int, end: int) -> None:
        """Sends the answers in these slots."""
        fileno, outgoing = self._sock.fileno(), ctypes.addressof(self._outgoing)
        while begun < end:
            sent: int = self._send(fileno, outgoing + begun * ctypes.sizeof(_Mmsghdr), end - begun, socket.MSG_DONTWAIT)
            # The first unsent answer is skipped: the network is down, or the buffer is full. The client asks again.
            begun += max(sent, 1)

    def _source(self, slot: int) -> Source:
        name = self._names[slot * self._name_size : (slot + 1) * self._name_size]
        raw: bytes = name[self._at : self._end]
        address = self._known.get(raw) or self._text(raw)
        port = int.from_bytes(name[2:4], "big")
        if self._family == socket.AF_INET:
            return address, port
        return address, port, int.from_bytes(name[4:8], "big"), int.from_bytes(name[24:28], sys.byteorder)

    def _text(self, raw: bytes) -> str:
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        address = self._known[raw] = socket.inet_ntop(self._family, raw)
        return address
