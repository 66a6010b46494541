"""Where a worker's claims go on, so that they do not walk over the past.

The index entries of ended tasks stay until VACUUM may remove them, and it may not while any
old snapshot is open. A claim that starts at the front visits all of them. So a process
remembers, for each place, which is a queue and a priority, the last key that it took, and
*bounded* claims start there. A *full* claim, from the front and over every place, finds what
a bounded one cannot see: tasks that were committed late, new places, tasks that came back.

While full claims are cheap one follows every bounded claim that found nothing. When they
are dear they get at most a tenth of the time, unless the caller wants a thorough answer. Dear
is what was dear twice in a row: once may be a server or a machine that was busy otherwise, and
what came back meanwhile must not wait for ten times as long.
"""

import math
import threading
from collections.abc import Iterable, Sequence
from typing import NamedTuple
from uuid import UUID

from .dialects import Place, serving_order

CHEAP = 0.02
"""Seconds up to which a full claim follows each empty bounded one at once."""
SHORTEST_PAUSE = 1.0
"""Seconds after which a full claim is due even while bounded ones come back filled."""
MOST_PLACES = 1000
"""Marks in one statement, and marks to remember; beyond it those without tasks are forgotten."""


class Mark(NamedTuple):
    """The key after which a claim goes on: due time in Unix seconds, and id."""

    run_at: float
    id: UUID


FRONT = Mark(-math.inf, UUID(int=0))


class Marks:
    """The marks of queues that are claimed from together, in their order."""

    def __init__(self, queues: Sequence[str]) -> None:
        self._order = serving_order(queues)
        self._lock = threading.Lock()
        self._marks: dict[Place, Mark] = {}
        self._cost = 0.0
        self._last_cost = 0.0
        self._last_full = -math.inf

    def bounded(self) -> list[tuple[Place, Mark]]:
        """Return the known places with their marks, in the order in which they are served."""
        with self._lock:
            return sorted(self._marks.items(), key=lambda item: self._order(item[0]))

    def full_is_due(self, now: float, *, empty: bool) -> bool:
        """Whether to claim from the front; ``empty`` says that a bounded claim found nothing."""
        if empty and self._cost <= CHEAP:
            return True
        return now - self._last_full >= max(SHORTEST_PAUSE, 10 * self._cost)

    def advance(self, taken: Iterable[tuple[Place, Mark]]) -> None:
        """Note the keys that a claim took."""
        with self._lock:
            for place, mark in taken:
                if mark > self._marks.get(place, FRONT):
                    self._marks[place] = mark

    def full_done(self, places: Iterable[Place], now: float, cost: float) -> None:
        """Note that a full claim found tasks in ``places`` and took ``cost`` seconds."""
        found = set(places)
        with self._lock:
            for place in found:
                self._marks.setdefault(place, FRONT)
            if len(self._marks) > MOST_PLACES:
                self._marks = {key: mark for key, mark in self._marks.items() if key in found}
            self._cost, self._last_cost = min(cost, self._last_cost), cost
            self._last_full = now
