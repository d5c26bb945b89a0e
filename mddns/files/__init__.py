"""The files that users write, and those that we keep: YAML, zone files, resolv.conf, serials, remembered peers.

It converts text to values and back, and makes no decisions about the network.
Start with yaml_file.py: the services of a configuration file.
"""
