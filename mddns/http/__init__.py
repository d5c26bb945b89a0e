"""HTTP of a node: connections, access control, the format of DNS over HTTPS, metrics, targets for Prometheus.

This package does not listen: the server passes octets to it.
Start with dispatch.py; cross_site.py refuses requests from web pages of other sites.
"""
