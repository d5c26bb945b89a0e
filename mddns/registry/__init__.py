"""What this host offers: by this process, by its other processes (tenants), and by Minidisc's programs.

It knows nothing of other hosts, and does no I/O.
Start with registry.py: one process. host_table.py is all processes of the host.
"""
