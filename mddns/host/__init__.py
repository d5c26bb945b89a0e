"""The processes of one host: one holds the port, the others are its tenants; and Minidisc's programs on that host.

This package knows how a process becomes holder or tenant, and how the port changes hands. It does not know what a
query means. Start with role.py; takeover.py decides when a tenant takes over the port.
"""
