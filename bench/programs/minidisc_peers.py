"""Minidisc's own server at many addresses, in one thread. minidisc_peers.py FILE EVERY

FILE has an address a line; each EVERYth has a service. Its client asks one after the other, so one thread is enough.
"""

import importlib
import selectors
import socket
import sys
from pathlib import Path

minidisc = importlib.import_module("minidisc")
socket.getfqdn = lambda name="": name  # what http.server asks DNS for, once for each address
selector = selectors.DefaultSelector()
for number, address in enumerate(Path(sys.argv[1]).read_text().split()):
    registry = minidisc._RegistryImpl(address)
    if number % int(sys.argv[2]) == 0:
        registry.advertise_service(8080, "web", {"env": "prod"})
    selector.register(minidisc._MinidiscNode(address, registry)._bind_server(), selectors.EVENT_READ)
while True:
    for key, _ in selector.select():
        key.fileobj.handle_request()  # type: ignore[union-attr]
