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
        reserve: How many are left to be started when it is time to claim more. They run while
            the store works.
    """

    target: int
    reserve: int

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

    def wanted(self, held: int, *, at_hand: bool = False) -> int:
        """Return how many tasks to claim while ``held`` are held; 0 until it is worth it.

        It is sooner when the store is ``at_hand``, because something is sent to it anyway.
        """
        missing = self.target - held
        ahead = self.target - self._slots
        worth = ahead // 8 if at_hand else ahead - self.reserve
        return missing if held <= self._slots or missing >= max(1, worth) else 0

    def _learn(self, seconds: float) -> None:
        self._seconds = seconds
        most = max(LARGEST_BATCH, self._slots)
        ahead = int(min(self._slots * HORIZON / max(seconds, 1e-6), most))
        self.target = self._slots + ahead
        self.reserve = ahead // 2
