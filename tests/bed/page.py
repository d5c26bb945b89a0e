"""A web page that says who serves it: ``python -m bed.page ADDRESS PORT WHO``.

Every path answers ``WHO\\n``, ``/metrics`` one sample for Prometheus. It says ``serving`` when its port accepts.
"""

from __future__ import annotations

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def main() -> None:
    """Serves until it is ended."""
    address, port, who = sys.argv[1], int(sys.argv[2]), sys.argv[3]

    class Page(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            text = f'page_up{{who="{who}"}} 1\n' if self.path == "/metrics" else f"{who}\n"
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            """Nobody reads its log."""

    with ThreadingHTTPServer((address, port), Page) as server:
        print("serving", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
