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
from collections.abc import Sequence
from typing import Any, Final

from .lookup import Ask

SLOTS: Final = 64  # datagrams at a time
OCTETS: Final = 1472  # of an answer, more than we say that we take; no power of two, for the caches' sake
_NAME: Final = struct.Struct("=H2s4s8x")  # struct sockaddr_in: family, port, address
_STRIDE: Final = _NAME.size + 2  # with the id behind it
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
        self._sources: Any = (ctypes.c_char * (SLOTS * _NAME.size))()
        self._answers: Any = (ctypes.c_char * (SLOTS * OCTETS))()
        self._targets: Any = (ctypes.c_char * (SLOTS * _STRIDE))()
        self._rest = ctypes.create_string_buffer(rest, len(rest))
        sources, answers = ctypes.addressof(self._sources), ctypes.addressof(self._answers)
        targets = ctypes.addressof(self._targets)
        self._incoming_vectors = _table(2, _every(answers, OCTETS), _same(OCTETS))
        self._incoming = _headers(sources, _NAME.size, self._incoming_vectors, 1)
        self._lengths = memoryview(self._incoming).cast("B").cast("I")[2 * _WORDS - 2 :: 2 * _WORDS]
        # The id stands behind its address; what follows is the same for everyone.
        ids, question = _every(targets + _NAME.size, _STRIDE), ctypes.addressof(self._rest)
        self._outgoing_vectors = _table(4, ids, _same(2), _same(question), _same(len(rest)))
        self._outgoing = _headers(targets, _STRIDE, self._outgoing_vectors, 2)

    def send(self, asks: Sequence[Ask]) -> Sequence[Ask]:
        """Asks each at the first address of its peer. Gives back those that could not be sent, from the first on."""
        keys: list[bytes] = []
        heads: dict[int, bytes] = {}
        aton = socket.inet_aton
        for ask in asks:
            peer = ask.peer
            port, address = peer.port, peer.route[0]
            if ":" in address:
                break
            head = heads.get(port)
            if head is None:
                head = heads[port] = socket.AF_INET.to_bytes(2, sys.byteorder) + port.to_bytes(2, "big")
            keys.append(head + aton(address) + b"\0\0\0\0\0\0\0\0" + ask.ident.to_bytes(2, "big"))
        self._asked.update(zip(keys, asks, strict=False))
        outgoing = self._outgoing.buffer_info()[0]
        for begun in range(0, len(keys), SLOTS):
            octets = b"".join(keys[begun : begun + SLOTS])
            self._targets[: len(octets)] = octets
            count = len(octets) // _STRIDE
            sent: int = self._send(self._fileno, outgoing, count, socket.MSG_DONTWAIT)
            if sent < count:
                return asks[begun + max(sent, 0) :]
        return asks[len(keys) :]

    def receive(self) -> tuple[int, list[tuple[Ask, bytes]], list[tuple[bytes, str, int]]]:
        """What came, at most `SLOTS` datagrams: how many, those with the source and id of an ask, and all others.

        Nothing, where nothing is there, or the kernel has an error to tell of.
        """
        count: int = self._receive(self._fileno, self._incoming.buffer_info()[0], SLOTS, socket.MSG_DONTWAIT, None)
        answers: list[tuple[Ask, bytes]] = []
        others: list[tuple[bytes, str, int]] = []
        if count <= 0:
            return 0, answers, others
        asked, octets, sources = self._asked, self._answers, self._sources[: count * _NAME.size]
        at = name = 0
        for length in self._lengths[:count].tolist():
            wire = octets[at : at + length]
            source = sources[name : name + 16]
            ask = asked.get(source + wire[:2])
            if ask is not None and length >= 12:
                answers.append((ask, wire))
            else:
                others.append((wire, socket.inet_ntoa(source[4:8]), int.from_bytes(source[2:4], "big")))
            at += OCTETS
            name += 16
        return count, answers, others


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


def _headers(names: int, step: int, vectors: array[int], each: int) -> array[int]:
    """The table of datagrams whose addresses stand every `step` octets, and each of which has `each` vectors."""
    at = _every(vectors.buffer_info()[0], 16 * each)
    return _table(_WORDS, _every(names, step), _same(_NAME.size), at, _same(each))
