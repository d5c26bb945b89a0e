"""The files that users write and that we keep: YAML, zone files, resolv.conf, serials, remembered peers.

It turns text into values and back; it decides nothing about the network.
Start with yaml_file.py: the services of a configuration file.
"""
