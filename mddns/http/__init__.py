"""What a node says over HTTP: connections, who is let in, DNS over HTTPS' format, metrics, Prometheus' targets.

It does not listen: the server hands it octets.
Start with dispatch.py; cross_site.py refuses requests that a foreign web page makes.
"""
