"""The one loop that every background service runs."""

import logging
import threading
from abc import ABC, abstractmethod

from ... import jitter

logger = logging.getLogger(__name__)

SHORTEST_BACKOFF = 0.4
"""Seconds at most before the first new try of a service that failed; they double."""
LONGEST_BACKOFF = 10.0
"""Seconds between tries at most while a service keeps failing."""


class Service(threading.Thread, ABC):
    """Calls :meth:`run_once` again and again until it is stopped.

    No error ends it: it says what is wrong once, tries on with growing pauses, and says
    when it has recovered.

    Args:
        name: What the service is called in logs.
        interval: Seconds between two runs, ±20 % so that workers do not march in step.
    """

    def __init__(self, name: str, interval: float) -> None:
        super().__init__(name=f"alligator-{name}", daemon=True)
        self._title = name
        self._interval = interval
        self._stopped = threading.Event()
        self._failures = 0
        self._succeeded = False

    @property
    def healthy(self) -> bool:
        """Whether the last run succeeded; not before the first one."""
        return self.is_alive() and self._succeeded

    @abstractmethod
    def run_once(self) -> None:
        """Do the work of the service once."""

    def run(self) -> None:
        """Run until stopped."""
        while not self._stopped.is_set():
            self._try_once()
            self._stopped.wait(self._rest())
        try:
            self.finished()
        except Exception as error:
            logger.warning("%s could not finish: %s", self._title, error)

    def _try_once(self) -> None:
        try:
            self.run_once()
        except Exception as error:  # a service outlives any trouble of the store
            self._succeeded = False
            self._failures += 1
            if self._failures == 1 and not self._stopped.is_set():
                logger.warning("%s has trouble, trying on: %s", self._title, error)
        else:
            if self._failures:
                logger.warning("%s works again", self._title)
            self._succeeded = True
            self._failures = 0

    def _rest(self) -> float:
        if not self._failures:
            return self._interval * jitter.uniform(0.8, 1.2)
        # All workers lose the store at the same moment; they must not come back at the same one.
        longest = min(LONGEST_BACKOFF, SHORTEST_BACKOFF * 2.0 ** min(self._failures - 1, 10))
        return longest * jitter.uniform(0.5, 1.0)

    def finished(self) -> None:
        """Give back what the thread of the service holds; called there at its end."""

    def stop(self) -> None:
        """Ask the loop to end after the present run."""
        self._stopped.set()
