"""The services of this host: those of this process, of its other processes (tenants), and of Minidisc's programs.

It knows nothing of other hosts, and does no I/O.
Start with registry.py, the services of one process; host_table.py joins all processes of the host.
"""
