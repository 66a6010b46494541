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

    Attributes:
        target: How many tasks to hold, the running ones included.
        low_water: How many have to end before it is worth to talk to the store. As many are
            left then, and run while the store works.
    """

    target: int
    low_water: int

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._learn(math.inf)  # nothing known yet: hold what starts at once

    def observe(self, seconds: float, tasks: int = 1) -> None:
        """Note that as many ``tasks`` took ``seconds`` each, on average."""
        if self._seconds < math.inf:
            seconds += (1 - _WEIGHT) ** tasks * (self._seconds - seconds)
        self._learn(seconds)

    def stalled(self, seconds: float) -> None:
        """Note that no task has ended for ``seconds``."""
        self._learn(max(self._seconds, seconds))

    def wanted(self, held: int) -> int:
        """Return how many tasks to claim while ``held`` are held; 0 until it is worth it."""
        missing = self.target - held
        return missing if held <= self._slots or missing >= self.low_water else 0

    def _learn(self, seconds: float) -> None:
        self._seconds = seconds
        ahead = self._slots * HORIZON / max(seconds, 1e-6)
        self.target = self._slots + int(max(0, min(ahead, LARGEST_BATCH - self._slots)))
        self.low_water = (self.target + 1) // 2
