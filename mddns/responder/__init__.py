"""Turns the octets of a query into the octets of its answer, without I/O.

This package does not know which socket received a query, only which client sent it and by which transport.
Start with responder.py; compose.py writes an answer, truncation.py cuts it to size.
"""
