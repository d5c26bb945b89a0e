"""What several commands share: options, formats of output, terminals, signals, systemd.

A command stands in a file of its own, one folder up.
Start with options.py and one_lookup.py.
"""
