"""A zone made of services: its records, its serial, its journal, and its transfers in and out.

It does not know where services come from or which clients may read the zone, and does no I/O.
Start with zone.py; merged_zone.py is the whole network as one zone.
"""
