"""The forwarder of ``md forward``: answers our zone from the directory, and other names from upstream name servers.

It answers other names only for this machine, unless --recursive opens it.
Start with forwarder.py; server_selection.py decides which upstream is queried next.
"""
