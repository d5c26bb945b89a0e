"""Sockets that clients reach: UDP in batches, TCP with limits, DSO sessions.

It decides no answer: it hands octets to a function and sends what comes back.
Start with listeners.py.
"""
