"""One question to many peers: what to send, what came back, when to stop.

Decisions stand in query.py and fanout.py, without I/O; sockets.py and asyncio_sockets.py carry them out.
Start with fanout.py, the state of one question to all peers.
"""
