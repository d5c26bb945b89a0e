"""Services as octets and back: as DNS records, as answers, as UPDATE messages, as Minidisc's JSON.

It decides nothing about what is known or who is believed, and does no I/O.
Start with instance.py: one service as records. answer.py reads a response into services.
"""
