"""Calls a gRPC method repeatedly, at each instance in turn: ``python grpc_client.py NAME:PORT METHOD``.

It prints each answer. All instances have the same port, because gRPC does not read their SRV records.
"""

import json
import sys
import time

import grpc

OPTIONS = [
    # The default sends every call to the first address.
    ("grpc.service_config", json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})),
    # gRPC resolves again only when a connection ends, by default not sooner than 30 s after the last time.
    ("grpc.dns_min_time_between_resolutions_ms", 1000),
]


def main(target: str, method: str) -> None:
    """Makes five calls a second, until it is interrupted."""
    with grpc.insecure_channel(f"dns://127.0.0.1:53/{target}", OPTIONS) as channel:
        call = channel.unary_unary(method)
        while True:
            print(call(b"", timeout=5, wait_for_ready=True).decode(), flush=True)
            time.sleep(0.2)


if __name__ == "__main__":
    main(*sys.argv[1:])
