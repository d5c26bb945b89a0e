"""The basic types of the program: services, names, peers, errors, and their rules.

It imports only the standard library, and knows nothing of DNS messages, sockets or time.
Start with model.py: all other packages pass a Service, an Endpoint and a Peer to each other.
"""
