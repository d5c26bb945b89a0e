"""Converts services to octets and back: DNS records, responses, UPDATE messages, Minidisc's JSON.

It does no I/O and has no rules about which services to accept.
Start with instance_records.py, which has one service as records. answer.py reads services from a response.
"""
