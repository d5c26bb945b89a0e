"""One query to many peers: what to send, what came back, when to stop.

query.py and fanout.py make the decisions, without I/O; sockets.py and asyncio_sockets.py carry them out.
Start with fanout.py, the state of one query to all peers.
"""
