"""What a contender has to be able to do."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from time import perf_counter
from typing import Any

from . import tasks


class Adapter(ABC):
    """One contender, connected to one database.

    Args:
        dsn: Where it is: ``postgresql://``, ``sqlite:///file`` or ``redis://``.
    """

    @abstractmethod
    def __init__(self, dsn: str) -> None: ...

    def setup(self) -> None:  # noqa: B027 - most need nothing
        """Make in the empty database what the contender needs there."""

    @abstractmethod
    def enqueue(self, function: Callable[..., None], *args: Any) -> None:
        """Enqueue one call of ``deliver`` or ``note_start``."""

    @abstractmethod
    def work(self) -> None:
        """Be a worker with one thread, set up to drain a queue, until the process is ended."""

    def close(self) -> None:  # noqa: B027 - most end with their process
        """Let go of the connections."""

    def enqueue_one_by_one(self, number: int) -> float:
        """Enqueue ``number`` calls of ``deliver`` and return the seconds that it took."""
        started = perf_counter()
        for each in range(number):
            self.enqueue(tasks.deliver, tasks.mail(each))
        return perf_counter() - started

    def enqueue_many(self, number: int, subject: str = tasks.SUBJECT) -> float:
        """Do the same in the quickest way."""
        started = perf_counter()
        for each in range(number):
            self.enqueue(tasks.deliver, tasks.mail(each, subject))
        return perf_counter() - started

    def wait(self) -> None:
        """Be a worker that mostly waits, until the process is ended."""
        self.work()
