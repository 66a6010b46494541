"""Time as an object, so that tests can move it.

Only what a process decides for itself reads this clock. Due times and leases are
computed by the store, from relative seconds.
"""

import time
from typing import Protocol


class Clock(Protocol):
    """What the package needs to know about time."""

    def now(self) -> float:
        """Seconds since the Unix epoch, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never run backwards."""
        ...


class SystemClock:
    """The clock of this machine, read at each call."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


SYSTEM_CLOCK = SystemClock()
