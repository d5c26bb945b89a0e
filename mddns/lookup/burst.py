"""Sends one query to very many IPv4 addresses with few system calls: sendmmsg(2) and recvmmsg(2), through ctypes.

One dict finds the peer of a response, since address, port and id are the same octets in both directions. For few peers,
loading ctypes costs more than it saves.
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

SLOTS: Final = 64  # datagrams for one system call
OCTETS: Final = 1472  # buffer for one response, above our EDNS size; no power of two, which CPU caches handle badly
_NAME: Final = 16  # octets of a struct sockaddr_in: family, port, address, and 8 unused
_USED: Final = 8
# The id of a query is in the unused octets of its address, so one assignment writes both.
_BETWEEN: Final = bytes(_NAME - _USED - 2)
_SLOTS: Final = range(SLOTS)
_STARTS: Final = [slot * OCTETS for slot in _SLOTS]
_SOURCES: Final = [slot * _NAME for slot in _SLOTS]
# On these systems, struct mmsghdr is 8 words of 64 bits and struct iovec is 2 (recvmmsg(2), readv(2)).
_KNOWN: Final = sys.platform.startswith("linux") and sys.byteorder == "little" and struct.calcsize("P") == 8
_WORDS: Final = 8


class Volley:
    """Sends queries over one UDP socket, and matches the responses. OSError if the system lacks these calls."""

    def __init__(self, sock: socket.socket, rest: bytes) -> None:
        """`rest` is the query without its id."""
        try:
            library = ctypes.CDLL(None)
            self._receive, self._send = library.recvmmsg, library.sendmmsg
        except AttributeError as error:
            raise OSError(f"no such system call: {error}") from error
        if not _KNOWN:
            raise OSError("the layout of its structures is not known on this platform")
        told = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)
        self._receive.argtypes, self._send.argtypes = (*told, ctypes.c_void_p), told
        self._fileno = sock.fileno()
        self._asked: dict[bytes, Ask] = {}  # by port, address and id as octets
        # Any: a slice of an array of c_char is bytes, but typeshed has no type for that.
        self._sources: Any = (ctypes.c_char * (SLOTS * _NAME))()
        self._answers: Any = (ctypes.c_char * (SLOTS * OCTETS))()
        # A bytearray, since slice assignment to a ctypes array copies octet by octet.
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
        """Queries each peer at its first address. Returns the asks from the first one on that could not be sent."""
        keys, aton, last, head = [], socket.inet_aton, -1, b""
        try:
            for ask in asks:
                peer = ask.peer
                if peer.port != last:
                    last = peer.port
                    head = socket.AF_INET.to_bytes(2, sys.byteorder) + last.to_bytes(2, "big")
                keys.append(head + aton(peer.route[0]) + ask.ident)
        except OSError:
            pass  # a peer without IPv4; the caller sends to it
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
        """Receives at most `SLOTS` datagrams. Returns their number, those that match an ask, and the others.

        The others are data, address and port. The number is 0 if no datagram waits, or if the kernel reports an error.
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
    """Returns the datagrams that match no ask: data, address, port."""
    others = [(key, wire) for ask, key, wire in zip(asks, keys, wires, strict=True) if ask is None]
    return [(wire, socket.inet_ntoa(key[4:8]), int.from_bytes(key[2:4], "big")) for key, wire in others]


def _every(first: int, step: int) -> array[int]:
    return array("Q", range(first, first + SLOTS * step, step))


def _same(value: int) -> array[int]:
    return array("Q", [value]) * SLOTS


def _table(width: int, *columns: array[int]) -> array[int]:
    """Returns rows of `width` words, filled by column; words without a column are 0."""
    table = array("Q", bytes(8 * width * SLOTS))
    for number, column in enumerate(columns):
        table[number::width] = column
    return table


def _headers(names: int, vectors: array[int], each: int) -> array[int]:
    """Returns an array of struct mmsghdr, each with `each` vectors."""
    at = _every(vectors.buffer_info()[0], 16 * each)
    return _table(_WORDS, _every(names, _NAME), _same(_NAME), at, _same(each))
