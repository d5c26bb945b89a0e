"""``md doctor``: finds problems of this machine and its network, and the commands that fix them.

gather.py collects facts with I/O; network_findings.py and resolver_findings.py judge them without I/O.
Start with finding.py: what a finding is.
"""
