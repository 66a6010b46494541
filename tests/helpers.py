"""What many tests need."""

import threading
import time
from collections.abc import Callable

PATIENCE = 30.0
"""Seconds to wait for what must happen: much more than it ever takes."""


def wait_until(condition: Callable[[], object], timeout: float = PATIENCE) -> None:
    """Return once ``condition()`` is true.

    Raises:
        AssertionError: It is not within ``timeout`` seconds.
    """
    deadline = time.monotonic() + timeout
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout} s: {condition}"
        pause.wait(0.01)
