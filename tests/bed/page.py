"""Web pages that contain the name of their server: ``python -m bed.page ADDRESS PORT WHO [PORT WHO]...``.

Every path returns ``WHO\\n``; ``/metrics`` returns one sample for Prometheus. It prints ``serving`` when its ports
accept connections.
"""

from __future__ import annotations

import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def main() -> None:
    """Serves until it is killed."""
    address, pages = sys.argv[1], sys.argv[2:]
    for port, who in zip(pages[::2], pages[1::2], strict=True):
        server = ThreadingHTTPServer((address, int(port)), page(who))
        threading.Thread(target=server.serve_forever).start()
    print("serving", flush=True)


def page(who: str) -> type[BaseHTTPRequestHandler]:
    """The request handler of one port."""

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
            """Drops the log of requests."""

    return Page


if __name__ == "__main__":
    main()
