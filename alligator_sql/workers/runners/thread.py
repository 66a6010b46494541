"""Running tasks on threads of this process."""

import threading
import time
from collections import deque
from collections.abc import Callable

from ...messages import Claim
from ...outcomes import Outcome

Perform = Callable[[Claim], Outcome]
Done = Callable[[Claim, Outcome, float], None]


class ThreadRunner:
    """A fixed number of threads that run claims in the order in which they came.

    The threads are daemons: a task that never ends must not keep a stopped worker alive.

    Args:
        slots: How many threads.
        perform: Runs a claim and returns its outcome; never raises.
        done: Called on the thread with the claim, its outcome and the seconds that it took.
    """

    def __init__(self, slots: int, perform: Perform, done: Done) -> None:
        self._perform = perform
        self._done = done
        self._waiting: deque[Claim] = deque()
        self._running: dict[int, Claim] = {}
        self._changed = threading.Condition()
        self._stopping = False
        self._threads = [
            threading.Thread(target=self._work, args=(slot,), name=f"alligator-{slot}", daemon=True)
            for slot in range(slots)
        ]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def submit(self, claims: list[Claim]) -> None:
        """Run ``claims`` as soon as threads are free."""
        with self._changed:
            self._waiting.extend(claims)
            self._changed.notify(len(claims))

    def withdraw(self) -> list[Claim]:
        """Take back the claims that no thread has started."""
        with self._changed:
            claims = list(self._waiting)
            self._waiting.clear()
            return claims

    @property
    def waiting(self) -> int:
        """How many claims no thread has started."""
        return len(self._waiting)

    def running(self) -> list[Claim]:
        """Return the claims that run at this moment; some may be done already."""
        with self._changed:
            return list(self._running.values())

    def stop(self) -> None:
        """Let the threads end once they have nothing to run."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def _work(self, slot: int) -> None:
        while (claim := self._next(slot)) is not None:
            started = time.perf_counter()
            outcome = self._perform(claim)
            self._done(claim, outcome, time.perf_counter() - started)
            self._running.pop(slot, None)

    def _next(self, slot: int) -> Claim | None:
        with self._changed:
            while not self._waiting:
                if self._stopping:
                    return None
                self._changed.wait()
            claim = self._waiting.popleft()
            self._running[slot] = claim
            return claim
