"""What we need of the operating system and of Python itself: the clock, an event loop in a thread, forks, files.

It knows nothing of services or DNS. Each file stands alone.
Start with clock.py: everything that has an age is measured by it.
"""
