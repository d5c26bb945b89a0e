"""All that is known of the network: what each peer said, how each peer behaves, and the merge of it all.

It does not ask anybody and does no I/O: others tell it, with the time as an argument.
Start with directory.py; merge.py makes one list of services from what several peers said.
"""
