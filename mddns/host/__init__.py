"""The processes of one host: one holds the port, the others are its tenants; Minidisc's programs beside them.

It knows how a place on the host is won, kept and handed over, not what a query means.
Start with role.py; takeover.py says when a tenant takes over the port.
"""
