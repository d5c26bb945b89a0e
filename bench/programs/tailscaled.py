"""The part of tailscaled's LocalAPI that gives the list of peers. tailscaled.py SOCKET ADDRESS PEERS

Its bus says how it stands at first, and then nothing, as on a network on which nothing happens.
"""

import ipaddress
import json
import socket
import sys
from pathlib import Path


def node(number: int, address: str) -> dict[str, object]:
    """A node with as many fields as a real status has."""
    return {
        "ID": f"n{number:08d}CNTRL",
        "PublicKey": f"nodekey:{number:064x}",
        "HostName": f"machine{number}",
        "DNSName": f"machine{number}.tail1234.ts.net.",
        "OS": "linux",
        "UserID": 12345,
        "TailscaleIPs": [address],
        "AllowedIPs": [f"{address}/32"],
        "Addrs": None,
        "CurAddr": "",
        "Relay": "fra",
        "RxBytes": 4711 * number,
        "TxBytes": 815 * number,
        "Created": "2025-01-01T00:00:00Z",
        "LastWrite": "0001-01-01T00:00:00Z",
        "LastSeen": "0001-01-01T00:00:00Z",
        "LastHandshake": "0001-01-01T00:00:00Z",
        "Online": True,
        "ExitNode": False,
        "ExitNodeOption": False,
        "Active": False,
        "PeerAPIURL": [f"http://{address}:12345"],
        "TaildropTarget": 0,
        "NoFileSharingReason": "",
        "InNetworkMap": True,
        "InMagicSock": True,
        "InEngine": False,
        "KeyExpiry": "2026-01-01T00:00:00Z",
    }


first = int(ipaddress.ip_address(sys.argv[2]))
nodes = [node(i, str(ipaddress.ip_address(first + i))) for i in range(int(sys.argv[3]) + 1)]
status = {
    "Version": "1.90.0",
    "TUN": True,
    "BackendState": "Running",
    "Self": nodes[0],
    "Peer": {each["PublicKey"]: each for each in nodes[1:]},
    "User": {"12345": {"ID": 12345, "LoginName": "somebody@example.com"}},
}
head = b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n"
page = head + json.dumps(status).encode()
running = head + json.dumps({"Version": "1.90.0", "State": 6}).encode() + b"\n"
listening = []
path = Path(sys.argv[1])
path.unlink(missing_ok=True)
with socket.socket(socket.AF_UNIX) as listener:
    listener.bind(str(path))
    listener.listen(8)
    while True:
        stream, _ = listener.accept()
        asked = stream.recv(65536)
        if b" /localapi/v0/watch-ipn-bus?" in asked:
            stream.sendall(running)
            listening.append(stream)
        else:
            with stream:
                stream.sendall(page)
