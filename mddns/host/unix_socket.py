"""Between the processes of one host: frames and file descriptors over a Unix socket, and a shared page.

The page tells, without a message, which generation of holder is the present one and when it last gave a
sign of life: a tenant sees a stopped holder by it, and a holder that wakes up sees that it is one no more.
Nothing here decides anything.
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

# The versions of what is said here that this program speaks: a host may run programs of several.
VERSION: Final = 1
OLDEST: Final = 1

_FRAME: Final = struct.Struct("!IB")  # octets of the payload, kind
_CREDENTIALS: Final = struct.Struct("iII")  # struct ucred: pid, uid, gid
_MOST_PAYLOAD: Final = 70_000
_MOST_READS: Final = 64  # of a line at once
_MOST_UNSENT: Final = 8 << 20
_MOST_DESCRIPTORS: Final = 32
_BACKLOG: Final = 128


def channel_path(address: str, port: int) -> str:
    """Where the processes of the host that has `address` meet: on Linux an abstract name, elsewhere a path."""
    name = f"mddns-{address}-{port}"
    if sys.platform.startswith("linux"):
        return f"\0{name}"
    import tempfile  # drags compression in

    return os.path.join(tempfile.gettempdir(), name)


def listen(path: str, inherited: socket.socket | None = None) -> socket.socket:
    """The holder's end. OSError (EADDRINUSE) where another process has it."""
    if inherited is not None:
        inherited.listen(_BACKLOG)  # once more, so that those who connect see whose it is now
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
    """The pid of who listened last at a tenant's end; None where the system does not tell, or in another container."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    pid, _, _ = _CREDENTIALS.unpack(line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return pid or None


def connect(path: str) -> socket.socket | None:
    """A tenant's end; None where nobody listens. BlockingIOError where somebody does, but lets nobody in."""
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
    """What the other processes of this host see the end of this one by: its pid, and among which pids that counts."""
    try:
        return f"{os.getpid()} {os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return f"{os.getpid()} "


def has_ended(other: str) -> bool:
    """Whether the process of that :func:`life` has ended. False where that cannot be seen: in another container."""
    pid, _, among = other.partition(" ")
    if not pid.isdecimal() or among != life().partition(" ")[2]:
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False  # another user's, or no pid at all
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] in (b"Z", b"X")  # only its parent has not seen it yet
    except OSError:
        return False


class Line:
    """One connection: frames in order, and descriptors with them.

    `on_frame(kind, payload, descriptors)` for each; `on_end()` once, when the other side has ended.
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
        self._unheard = False  # whether the other side has gone, and takes nothing any more
        loop.add_reader(sock.fileno(), self._read)

    def send(self, kind: int, payload: bytes, descriptors: Sequence[int] = ()) -> None:
        """Sends a frame; a line whose other end does not read is ended."""
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
        """Takes in what has come already."""
        for _ in range(_MOST_READS):
            if not (self._open and self._read()):
                break

    def fileno(self) -> int:
        """The socket's descriptor; -1 when it is closed."""
        return self._socket.fileno()

    def close(self) -> None:
        """Ends it from this side; `on_end` is not called."""
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
                self.drain()  # what the other side said before it went counts
                self._end()
                return
            self._octets -= sent
            self._unsent.popleft()
            if sent < len(frame):
                self._unsent.appendleft((frame[sent:], ()))
        self._loop.remove_writer(self._socket.fileno())

    def _read(self) -> bool:
        """Whether anything had come."""
        space = socket.CMSG_SPACE(_MOST_DESCRIPTORS * 4)
        try:
            # What is handed over must not go on to a program that this process starts just now (PEP 446 leaves it out).
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
    _SERIAL_AT: Final = 64  # behind the layout; a sign of life does not touch it
    _BEAT: Final = struct.Struct("=d")
    # The kernel's lock keeps other processes out, this one the other registries of ours.
    _claiming = threading.Lock()

    def __init__(self, descriptor: int) -> None:
        """Takes `descriptor` over."""
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
        """How often the holder has changed."""
        return int(self._LAYOUT.unpack_from(self._memory)[0])

    @property
    def serial(self) -> int:
        """The last serial that a holder told anybody."""
        return int(self._SERIAL.unpack_from(self._memory, self._SERIAL_AT)[0])

    def tell_serial(self, generation: int, serial: int) -> None:
        """The holder of `generation` is about to tell of `serial`."""
        if self.generation == generation:
            self._SERIAL.pack_into(self._memory, self._SERIAL_AT, serial)

    def age(self, now: float) -> float:
        """Seconds since the holder's last sign of life (`now` is CLOCK_MONOTONIC, which all processes share)."""
        return now - float(self._LAYOUT.unpack_from(self._memory)[1])

    def beat(self, generation: int, now: float) -> bool:
        """A sign of life of the holder of `generation`; False where there is another holder by now."""
        if self.generation != generation:
            return False
        # Nothing but the time: whoever is stopped right here must not undo a generation as it wakes.
        self._BEAT.pack_into(self._memory, 8, now)
        return True

    def claim(self, known: int, now: float) -> int | None:
        """The next generation, ours, if `known` is still the present one; else None. One registry gets it."""
        with Page._claiming:
            return self._claim(known, now)

    def _claim(self, known: int, now: float) -> int | None:
        try:
            # Of a process, not of a descriptor that several share; and gone when the process is.
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
        """Lets go of it."""
        self._memory.close()
        with Page._claiming:  # closing any descriptor of the page ends this process's lock of it
            os.close(self.descriptor)

    @classmethod
    def _forked(cls) -> None:
        """In a child: whoever of the parent held the lock is not here to let go of it."""
        cls._claiming = threading.Lock()


os.register_at_fork(after_in_child=Page._forked)
