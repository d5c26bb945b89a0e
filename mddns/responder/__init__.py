"""The octets of a query in, the octets of its answer out, without I/O.

It does not know which socket a query came from, only which client sent it and how.
Start with responder.py; compose.py writes an answer, truncation.py cuts it to size.
"""
