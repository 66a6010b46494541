"""Starting modules of this package in processes of their own."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
"""The folder that this package was imported from."""


def command(module: str) -> list[str]:
    """Return the command that runs ``module`` in a fresh interpreter like this one."""
    # A queue.py in the current folder must not take the place of Python's own.
    options = [] if Path.cwd() == ROOT else ["-P"]
    return [sys.executable, *options, "-m", module]
