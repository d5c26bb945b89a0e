"""DNS messages as octets: reading, writing, presentation format, and DNS Stateful Operations (DSO).

It knows no services or zones, and does no I/O.
Start with message.py, which reads messages; writer.py writes them.
"""
