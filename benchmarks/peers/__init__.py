"""Contenders: this package and others, each behind the same small interface.

An adapter runs in the Python of its contender, by ``python -m benchmarks.peers.roles``. That
Python has nothing but the contender installed, so what it imports from here must not need
anything else.
"""
