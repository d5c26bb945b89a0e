"""The sockets that clients use: UDP in batches, TCP with limits, DSO sessions.

This package does not decide what to answer: it passes octets to a function and sends what that returns.
Start with listeners.py.
"""
