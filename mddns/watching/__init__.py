"""To be told of changes: sessions with hosts, polling where there is none, and the events that come of it.

It knows nothing of threads or of the command line: the package's root has both shells.
Start with watcher.py; events.py makes events from two views of the network.
"""
