"""Helpers for the operating system and Python: clock, event loop in a thread, forks, ports, connections, files.

It knows no services and no DNS. Each file is independent.
Start with clock.py, which measures all ages.
"""
