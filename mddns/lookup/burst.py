"""One question to very many IPv4 addresses with few system calls: sendmmsg(2) and recvmmsg(2), by way of ctypes.

Whose an answer is, one look at a table tells: address, port and id are the same octets on the way out and back. For
a few peers it is not worth loading ctypes.
"""

from __future__ import annotations

import ctypes
import socket
import struct
import sys
from array import array
from collections.abc import Iterable, Sequence
from typing import Any, Final

from .asked_peer import Ask

SLOTS: Final = 64  # datagrams at a time
OCTETS: Final = 1472  # of an answer, more than we say that we take; no power of two, for the caches' sake
_NAME: Final = 16  # octets of a struct sockaddr_in: family, port, address, and 8 that mean nothing
_USED: Final = 8
# A question's id stands where the address has no meaning: so both are written at once.
_BETWEEN: Final = bytes(_NAME - _USED - 2)
_SLOTS: Final = range(SLOTS)
_STARTS: Final = [slot * OCTETS for slot in _SLOTS]
_SOURCES: Final = [slot * _NAME for slot in _SLOTS]
# Where struct mmsghdr and struct iovec are rows of 8 and 2 words of 64 bits (recvmmsg(2), readv(2)).
_KNOWN: Final = sys.platform.startswith("linux") and sys.byteorder == "little" and struct.calcsize("P") == 8
_WORDS: Final = 8


class Volley:
    """Asks over one UDP socket, and matches what comes. OSError where the system has no such calls."""

    def __init__(self, sock: socket.socket, rest: bytes) -> None:
        """`rest` is the question's octets behind the id."""
        try:
            library = ctypes.CDLL(None)
            self._receive, self._send = library.recvmmsg, library.sendmmsg
        except AttributeError as error:
            raise OSError(f"no such system call: {error}") from error
        if not _KNOWN:
            raise OSError("its structures are laid out in another way here")
        told = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)
        self._receive.argtypes, self._send.argtypes = (*told, ctypes.c_void_p), told
        self._fileno = sock.fileno()
        self._asked: dict[bytes, Ask] = {}  # by the octets of source and id
        # A slice of an array of c_char is bytes, for which typeshed has no word.
        self._sources: Any = (ctypes.c_char * (SLOTS * _NAME))()
        self._answers: Any = (ctypes.c_char * (SLOTS * OCTETS))()
        # Written to as a whole, which an array of ctypes does octet by octet.
        self._targets = bytearray(SLOTS * _NAME)
        self._rest = ctypes.create_string_buffer(rest, len(rest))
        sources, answers = ctypes.addressof(self._sources), ctypes.addressof(self._answers)
        self._pinned = (ctypes.c_char * len(self._targets)).from_buffer(self._targets)
        targets = ctypes.addressof(self._pinned)
        self._incoming_vectors = _table(2, _every(answers, OCTETS), _same(OCTETS))
        self._incoming = _headers(sources, self._incoming_vectors, 1)
        self._lengths = memoryview(self._incoming).cast("B").cast("I")[2 * _WORDS - 2 :: 2 * _WORDS]
        question = ctypes.addressof(self._rest)
        ids = _every(targets + _USED, _NAME)
        self._outgoing_vectors = _table(4, ids, _same(2), _same(question), _same(len(rest)))
        self._outgoing = _headers(targets, self._outgoing_vectors, 2)

    def send(self, asks: Sequence[Ask]) -> Sequence[Ask]:
        """Asks each at the first address of its peer. Gives back those that could not be sent, from the first on."""
        keys, aton, last, head = [], socket.inet_aton, -1, b""
        try:
            for ask in asks:
                peer = ask.peer
                if peer.port != last:
                    last = peer.port
                    head = socket.AF_INET.to_bytes(2, sys.byteorder) + last.to_bytes(2, "big")
                keys.append(head + aton(peer.route[0]) + ask.ident)
        except OSError:
            pass  # it has IPv6 alone, and is not asked here
        self._asked.update(zip(keys, asks, strict=False))
        outgoing = self._outgoing.buffer_info()[0]
        for begun in range(0, len(keys), SLOTS):
            octets = _BETWEEN.join(keys[begun : begun + SLOTS])
            self._targets[: len(octets)] = octets
            count = min(len(keys) - begun, SLOTS)
            sent: int = self._send(self._fileno, outgoing, count, socket.MSG_DONTWAIT)
            if sent < count:
                return asks[begun + max(sent, 0) :]
        return asks[len(keys) :]

    def receive(self) -> tuple[int, Iterable[tuple[Ask, bytes]], Iterable[tuple[bytes, str, int]]]:
        """What came, at most `SLOTS` datagrams: how many, those with the source and id of an ask, and all others.

        Nothing, where nothing is there, or the kernel has an error to tell of.
        """
        count: int = self._receive(self._fileno, self._incoming.buffer_info()[0], SLOTS, socket.MSG_DONTWAIT, None)
        if count <= 0:
            return 0, (), ()
        octets, sources = self._answers, self._sources[: count * _NAME]
        wires = [octets[at : at + size] for at, size in zip(_STARTS, self._lengths[:count].tolist(), strict=False)]
        keys = [sources[at : at + _USED] + wire[:2] for at, wire in zip(_SOURCES, wires, strict=False)]
        asks = list(map(self._asked.get, keys))
        known = [(ask, wire) for ask, wire in zip(asks, wires, strict=True) if ask is not None]
        return count, known, _strange(asks, keys, wires) if len(known) < count else ()


def _strange(asks: Iterable[Ask | None], keys: Iterable[bytes], wires: Iterable[bytes]) -> list[tuple[bytes, str, int]]:
    """What has to be looked at otherwise: octets, address, port."""
    others = [(key, wire) for ask, key, wire in zip(asks, keys, wires, strict=True) if ask is None]
    return [(wire, socket.inet_ntoa(key[4:8]), int.from_bytes(key[2:4], "big")) for key, wire in others]


def _every(first: int, step: int) -> array[int]:
    return array("Q", range(first, first + SLOTS * step, step))


def _same(value: int) -> array[int]:
    return array("Q", [value]) * SLOTS


def _table(width: int, *columns: array[int]) -> array[int]:
    """Rows of `width` words; what has no column is 0."""
    table = array("Q", bytes(8 * width * SLOTS))
    for number, column in enumerate(columns):
        table[number::width] = column
    return table


def _headers(names: int, vectors: array[int], each: int) -> array[int]:
    """The table of datagrams, each of which has `each` vectors."""
    at = _every(vectors.buffer_info()[0], 16 * each)
    return _table(_WORDS, _every(names, _NAME), _same(_NAME), at, _same(each))
