"""Calls a service of gRPC over and over, in turns at each instance: ``python grpc_client.py NAME:PORT METHOD``.

It prints what each answered. The port is one for all: gRPC never reads the SRV records of who serves.
"""

import json
import sys
import time

import grpc

OPTIONS = [
    # Otherwise the first address gets every call.
    ("grpc.service_config", json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})),
    # It asks again only when a connection ends, and by default not sooner than 30 s after it last did.
    ("grpc.dns_min_time_between_resolutions_ms", 1000),
]


def main(target: str, method: str) -> None:
    """Five calls a second, until it is ended."""
    with grpc.insecure_channel(f"dns://127.0.0.1:53/{target}", OPTIONS) as channel:
        call = channel.unary_unary(method)
        while True:
            print(call(b"", timeout=5, wait_for_ready=True).decode(), flush=True)
            time.sleep(0.2)


if __name__ == "__main__":
    main(*sys.argv[1:])
