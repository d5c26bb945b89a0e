"""A gRPC service that returns its own name: ``python -m bed.greeter ADDRESS PORT WHO [SECONDS]``.

Its method is ``/Greeter/Who``, and needs no protoc. After SECONDS it asks a client to reconnect, as servers behind
round robin do, so that clients find new servers. It prints ``serving`` when its port accepts connections.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import grpc


def main() -> None:
    """Serves until it is killed."""
    address, port, who, *age = sys.argv[1:]
    options = [("grpc.so_reuseport", 0), *(("grpc.max_connection_age_ms", int(float(each) * 1000)) for each in age)]
    server = grpc.server(ThreadPoolExecutor(4), options=options)
    handler = grpc.unary_unary_rpc_method_handler(lambda _request, _context: who.encode())
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("Greeter", {"Who": handler})])
    server.add_insecure_port(f"{address}:{port}")
    server.start()
    print("serving", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main()
