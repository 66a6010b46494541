"""The Python interpreter of a worker: how others are started, and how its threads take turns."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
"""The folder that this package was imported from."""
SWITCH_INTERVAL = 0.0005
"""Seconds that a thread may keep the interpreter while another one waits for it."""


def command(module: str) -> list[str]:
    """Return the command that runs ``module`` in a fresh interpreter like this one."""
    # A queue.py in the current folder must not take the place of Python's own.
    options = [] if Path.cwd() == ROOT else ["-P"]
    return [sys.executable, *options, "-m", module]


@contextmanager
def quick_turns() -> Iterator[None]:
    """Let threads take turns more often inside the block.

    With Python's 5 ms the thread that talks to the store waits, each time that an answer has
    come, until the other threads have run all the tasks that they have.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(before, SWITCH_INTERVAL))
    try:
        yield
    finally:
        sys.setswitchinterval(before)
