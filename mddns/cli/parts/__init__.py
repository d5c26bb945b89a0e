"""The parts that several commands share: options, output formats, terminals, signals, systemd.

Each command has its own file, one folder up.
Start with options.py and one_lookup.py.
"""
