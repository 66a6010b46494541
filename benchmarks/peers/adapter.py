"""What a contender has to be able to do."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from time import perf_counter
from typing import Any

from . import tasks


class Adapter(ABC):
    """One contender, connected to one database of a Redis server.

    Args:
        dsn: ``redis://host:port/database``, which holds nothing.
    """

    @abstractmethod
    def __init__(self, dsn: str) -> None: ...

    @abstractmethod
    def enqueue(self, function: Callable[..., None], *args: Any) -> None:
        """Enqueue one call of ``deliver`` or ``note_start``."""

    @abstractmethod
    def work(self) -> None:
        """Be a worker with one thread, set up to drain a queue, until the process is ended."""

    def enqueue_one_by_one(self, number: int) -> float:
        """Enqueue ``number`` calls of ``deliver`` and return the seconds that it took."""
        started = perf_counter()
        for each in range(number):
            self.enqueue(tasks.deliver, tasks.mail(each))
        return perf_counter() - started

    def fill(self, number: int) -> None:
        """Enqueue ``number`` calls of ``deliver`` in the quickest way."""
        self.enqueue_one_by_one(number)

    def wait(self) -> None:
        """Be a worker with one thread that mostly waits, until the process is ended."""
        self.work()
