"""What is wrong with this machine's part of the network, and what mends it.

gather.py collects facts with I/O; the findings files judge them without.
Start with finding.py: what a finding is.
"""
