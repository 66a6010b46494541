"""How many tasks to hold: what can be started soon, and no more.

A worker with short tasks claims many at once, because a round trip costs more than a task.
One with long tasks claims as many as it has free slots, so that others can take the rest.
"""

import math

HORIZON = 0.1
"""Seconds: claimed tasks should all be started within this time."""
LARGEST_BATCH = 500
"""Tasks to claim with one statement at most."""
_WEIGHT = 0.2
"""How much a new measurement counts in the moving average."""


class Prefetch:
    """Learns how long tasks take and says how many to hold.

    Args:
        slots: How many tasks run at the same time.
    """

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._seconds = math.inf  # nothing known yet: hold what starts at once

    def observe(self, seconds: float) -> None:
        """Note that a task took ``seconds``."""
        if self._seconds == math.inf:
            self._seconds = seconds
        else:
            self._seconds += _WEIGHT * (seconds - self._seconds)

    def stalled(self, seconds: float) -> None:
        """Note that no task has ended for ``seconds``."""
        self._seconds = max(self._seconds, seconds)

    @property
    def target(self) -> int:
        """How many tasks to hold, the running ones included."""
        ahead = self._slots * HORIZON / max(self._seconds, 1e-6)
        return self._slots + int(max(0, min(ahead, LARGEST_BATCH - self._slots)))

    def wanted(self, held: int) -> int:
        """Return how many tasks to claim while ``held`` are held; 0 until it is worth it."""
        missing = self.target - held
        return missing if held <= self._slots or missing * 2 >= self.target else 0
