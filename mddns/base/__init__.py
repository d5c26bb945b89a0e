"""The words of the program: services, names, peers, errors, and the rules that they obey.

It imports only the standard library, and knows nothing of DNS messages, sockets or time.
Start with model.py: a Service, an Endpoint and a Peer are what all other packages pass around.
"""
