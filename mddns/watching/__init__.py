"""Watching a network: sessions with hosts, polling of hosts without a session, and the events that follow from them.

This package knows nothing of threads or of the command line: the interfaces for asyncio and for threads are in the root
of mddns.
Start with watcher.py; events.py makes events from two views of the network.
"""
