"""Addresses as text and as octets: the functions of Python's ``socket`` that need no socket.

Packages without I/O import these from here, so that none of their files imports ``socket``.
"""

from socket import AF_INET, AF_INET6, inet_ntop, inet_pton

__all__ = ["AF_INET", "AF_INET6", "inet_ntop", "inet_pton"]
