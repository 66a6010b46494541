"""The Python interpreter of a worker: how others are started, and how it collects garbage."""

import gc
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
"""The folder that this package was imported from."""
COLLECT_AFTER = 10_000
"""New objects after which the garbage collector looks at the young ones; a task makes dozens."""


def command(module: str) -> list[str]:
    """Return the command that runs ``module`` in a fresh interpreter like this one."""
    # A queue.py in the current folder must not take the place of Python's own.
    options = [] if Path.cwd() == ROOT else ["-P"]
    return [sys.executable, *options, "-m", module]


def collect_rarely() -> None:
    """Let the garbage collector of a worker process look less often at what tasks need.

    With thousands of tasks in flight it would look at all of them, and at all that was
    imported, many times a second, which took a third of the time. For processes that are
    ours: in one of an application that is for the application to decide.
    """
    first, *others = gc.get_threshold()
    if first:  # else somebody has turned it off
        gc.freeze()
        gc.set_threshold(max(first, COLLECT_AFTER), *others)
