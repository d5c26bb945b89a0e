"""The stub resolver of a machine: our names from the directory, all others from upstream name servers.

It never answers other machines for names that are not ours, unless it was opened.
Start with forwarder.py; server_selection.py says which upstream is asked next.
"""
