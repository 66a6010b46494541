"""Chaos: real servers and processes, broken on purpose, and a check that nothing was lost.

``python -m tests.chaos --help``; docs/chaos.md tells what it does and how to read it.
"""
