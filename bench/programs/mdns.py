"""python-zeroconf with the 1,000 services, answering unicast. mdns.py ADDRESS TYPE COUNT FIRST_PORT"""

import asyncio
import importlib
import socket
import sys


async def main(address: str, kind: str, count: int, first_port: int) -> None:
    zeroconf = importlib.import_module("zeroconf")
    node = zeroconf.Zeroconf(interfaces=[address])
    await node.async_wait_for_start()
    for i in range(count):
        info = zeroconf.ServiceInfo(
            f"{kind}.",
            f"service-{i:03d}.{kind}.",
            port=first_port + i,
            properties={"env": "prod", "number": str(i)},
            server="alpha.local.",
            addresses=[socket.inet_aton(address)],
        )
        node.registry.async_add(info)  # without announcing it, which takes a second each
    await asyncio.Event().wait()


asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
