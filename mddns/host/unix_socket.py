"""How the processes of one host communicate: frames and file descriptors over a Unix socket, and a shared page.

The page holds the generation of the present holder and the time of its last heartbeat. Without any message, a tenant
detects by it that the holder has stopped, and a holder that wakes up detects that it was replaced. This module only
transports: role.py and takeover.py decide.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import errno
import fcntl
import mmap
import os
import socket
import struct
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from ..base.errors import NetworkError

# Kinds of frames.
HELLO, WELCOME, UPDATE, TABLE, ROSTER, TOLD_ALL, PING, PONG, REFUSED, DROPPED, MOVING = range(1, 12)

# The versions of this protocol that this program supports: a host may run programs with different ones.
VERSION: Final = 1
OLDEST: Final = 1

_FRAME: Final = struct.Struct("!IB")  # octets of the payload, kind
_CREDENTIALS: Final = struct.Struct("iII")  # struct ucred: pid, uid, gid
_MOST_PAYLOAD: Final = 70_000
_MOST_READS: Final = 64  # reads in one call of Line.drain
_MOST_UNSENT: Final = 8 << 20
_MOST_DESCRIPTORS: Final = 32
_BACKLOG: Final = 128


def channel_path(address: str, port: int) -> str:
    """The name of the Unix socket of the host that has `address`: on Linux an abstract name, elsewhere a path."""
    name = f"mddns-{address}-{port}"
    if sys.platform.startswith("linux"):
        return f"\0{name}"
    import tempfile  # imports compression modules too

    return os.path.join(tempfile.gettempdir(), name)


def listen(path: str, inherited: socket.socket | None = None) -> socket.socket:
    """The holder's listening socket: a new one at `path`, or `inherited`. OSError (EADDRINUSE) if it is taken."""
    if inherited is not None:
        inherited.listen(_BACKLOG)  # again, so that SO_PEERCRED names this process to those that connect
        return inherited
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.setblocking(False)
        if not path.startswith("\0"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        listener.bind(path)
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def listener_of(line: socket.socket) -> int | None:
    """The pid of the process that last called listen() for this connection's socket.

    None if the system does not know it, or the process is in another container.
    """
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    pid, _, _ = _CREDENTIALS.unpack(line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return pid or None


def connect(path: str) -> socket.socket | None:
    """A tenant's connection to the holder; None if no process listens. BlockingIOError if the backlog is full."""
    try:
        line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    except OSError:
        return None  # no descriptor is left
    try:
        line.setblocking(False)
        line.connect(path)
    except BlockingIOError:
        line.close()
        raise
    except OSError:
        line.close()
        return None
    return line


def life() -> str:
    """The pid of this process and its pid namespace, by which other processes of this host detect that it has ended."""
    try:
        return f"{os.getpid()} {os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return f"{os.getpid()} "


def has_ended(other: str) -> bool:
    """Whether the process with that :func:`life` has ended. False if unknown: it is in another pid namespace."""
    pid, _, among = other.partition(" ")
    if not pid.isdecimal() or among != life().partition(" ")[2]:
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False  # it belongs to another user, or this is no valid pid
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] in (b"Z", b"X")  # ended, but not waited for by its parent
    except OSError:
        return False


class Line:
    """One connection, which carries frames in order, and descriptors with them.

    Calls `on_frame(kind, payload, descriptors)` for each frame, and `on_end()` once, when the remote end has closed it.
    """

    def __init__(
        self,
        sock: socket.socket,
        loop: asyncio.AbstractEventLoop,
        on_frame: Callable[[int, bytes, list[int]], None],
        on_end: Callable[[], None],
    ) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._loop = loop
        self._on_frame = on_frame
        self._on_end = on_end
        self._received = bytearray()
        self._descriptors: list[int] = []
        self._unsent: deque[tuple[bytes, Sequence[int]]] = deque()
        self._octets = 0
        self._open = True
        self._unheard = False  # whether the remote end has closed, and reads nothing any more
        loop.add_reader(sock.fileno(), self._read)

    def send(self, kind: int, payload: bytes, descriptors: Sequence[int] = ()) -> None:
        """Sends a frame. Ends the connection if too many octets wait because the remote end does not read."""
        if not self._open or self._unheard:
            return
        frame = _FRAME.pack(len(payload), kind) + payload
        self._unsent.append((frame, descriptors))
        self._octets += len(frame)
        if self._octets > _MOST_UNSENT:
            self._end()
        else:
            self._write()

    def drain(self) -> None:
        """Processes the frames that have arrived."""
        for _ in range(_MOST_READS):
            if not (self._open and self._read()):
                break

    def fileno(self) -> int:
        """The socket's descriptor; -1 if it is closed."""
        return self._socket.fileno()

    def close(self) -> None:
        """Closes the connection, without a call of `on_end`."""
        if self._open:
            self._open = False
            self._loop.remove_reader(self._socket.fileno())
            self._loop.remove_writer(self._socket.fileno())
            self._socket.close()
            for descriptor in self._descriptors:
                os.close(descriptor)

    def _end(self) -> None:
        if self._open:
            self.close()
            self._on_end()

    def _write(self) -> None:
        while self._unsent:
            frame, descriptors = self._unsent[0]
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
            try:
                sent = self._socket.sendmsg([frame], rights)
            except BlockingIOError:
                self._loop.add_writer(self._socket.fileno(), self._write)
                return
            except OSError:
                self._unheard = True
                self.drain()  # process what the remote end sent before it closed
                self._end()
                return
            self._octets -= sent
            self._unsent.popleft()
            if sent < len(frame):
                self._unsent.appendleft((frame[sent:], ()))
        self._loop.remove_writer(self._socket.fileno())

    def _read(self) -> bool:
        """Reads once. Whether there was something to read, or the end."""
        space = socket.CMSG_SPACE(_MOST_DESCRIPTORS * 4)
        try:
            # A program that this process starts now must not inherit the descriptors (PEP 446 does not cover recvmsg).
            octets, ancillary, _, _ = self._socket.recvmsg(1 << 16, space, getattr(socket, "MSG_CMSG_CLOEXEC", 0))
        except BlockingIOError:
            return False
        except OSError:
            octets, ancillary = b"", []
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                descriptors = array.array("i")
                descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
                for descriptor in descriptors:
                    os.set_inheritable(descriptor, False)
                self._descriptors.extend(descriptors)
        if not octets:
            self._end()
            return True
        self._received += octets
        while self._open and len(self._received) >= _FRAME.size:
            size, frame_kind = _FRAME.unpack_from(self._received)
            if size > _MOST_PAYLOAD:
                self._end()
                break
            end = _FRAME.size + size
            if len(self._received) < end:
                break
            payload = bytes(self._received[_FRAME.size : end])
            del self._received[:end]
            handed, self._descriptors = self._descriptors, []
            self._on_frame(frame_kind, payload, handed)
        return True


class Page:
    """A page of memory that all processes of the host share: generation, heartbeat, pid of the holder, serial."""

    _LAYOUT: Final = struct.Struct("=QdQ")
    _SERIAL: Final = struct.Struct("=I")
    _SERIAL_AT: Final = 64  # octets; behind the layout, so a heartbeat does not overwrite it
    _BEAT: Final = struct.Struct("=d")
    # The kernel's lock excludes other processes; this lock excludes other registries in our own process.
    _claiming = threading.Lock()

    def __init__(self, descriptor: int) -> None:
        """Takes over `descriptor`, and closes it in :meth:`close`."""
        self.descriptor = descriptor
        self._memory = mmap.mmap(descriptor, mmap.PAGESIZE)

    @classmethod
    def create(cls) -> Page:
        """A new page, of generation 0."""
        try:
            if hasattr(os, "memfd_create"):
                descriptor = os.memfd_create("mddns", os.MFD_CLOEXEC)
            else:
                import tempfile  # as above

                with tempfile.TemporaryFile() as file:
                    descriptor = os.dup(file.fileno())
            os.ftruncate(descriptor, mmap.PAGESIZE)
        except OSError as error:
            raise NetworkError(error.errno, f"no shared memory for the processes of this host: {error}") from error
        return cls(descriptor)

    @property
    def generation(self) -> int:
        """The number of holder changes so far; 1 for the first holder."""
        return int(self._LAYOUT.unpack_from(self._memory)[0])

    @property
    def serial(self) -> int:
        """The last serial that a holder sent in an answer."""
        return int(self._SERIAL.unpack_from(self._memory, self._SERIAL_AT)[0])

    def tell_serial(self, generation: int, serial: int) -> None:
        """Stores `serial`, which the holder of `generation` is about to send. Ignored if the holder has changed."""
        if self.generation == generation:
            self._SERIAL.pack_into(self._memory, self._SERIAL_AT, serial)

    def age(self, now: float) -> float:
        """Seconds since the holder's last heartbeat (`now` is CLOCK_MONOTONIC, which all processes share)."""
        return now - float(self._LAYOUT.unpack_from(self._memory)[1])

    def beat(self, generation: int, now: float) -> bool:
        """Writes a heartbeat of the holder of `generation`. False, and writes nothing, if the holder has changed."""
        if self.generation != generation:
            return False
        # Writes only the time: a process that is stopped right here must not overwrite a newer generation later.
        self._BEAT.pack_into(self._memory, 8, now)
        return True

    def claim(self, known: int, now: float) -> int | None:
        """Makes us the holder if `known` is still the present generation. Returns our generation, else None.

        Of several registries that claim at the same time, one succeeds.
        """
        with Page._claiming:
            return self._claim(known, now)

    def _claim(self, known: int, now: float) -> int | None:
        try:
            # This lock belongs to the process, not to the descriptor that several share, and ends with the process.
            fcntl.lockf(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                return None
            raise
        try:
            if self.generation != known:
                return None
            self._LAYOUT.pack_into(self._memory, 0, known + 1, now, os.getpid())
            return known + 1
        finally:
            fcntl.lockf(self.descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Unmaps the page and closes its descriptor."""
        self._memory.close()
        with Page._claiming:  # as closing any descriptor of the page releases this process's lock of it
            os.close(self.descriptor)

    @classmethod
    def _forked(cls) -> None:
        """In a forked child: makes a new lock, as a thread of the parent may hold the old one."""
        cls._claiming = threading.Lock()


os.register_at_fork(after_in_child=Page._forked)
