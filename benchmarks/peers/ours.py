"""This package."""

from collections.abc import Callable
from typing import Any

from alligator_sql import Gator, Worker

from . import tasks
from .adapter import Adapter


class Ours(Adapter):
    """``Gator`` and ``Worker`` with one thread."""

    def __init__(self, dsn: str) -> None:
        self.gator = Gator(dsn)

    def enqueue(self, function: Callable[..., None], *args: Any) -> None:
        """Enqueue by ``gator.task``."""
        self.gator.task(function, *args)

    def fill(self, number: int) -> None:
        """Enqueue by ``gator.map``."""
        self.gator.map(tasks.deliver, (tasks.mail(each) for each in range(number)))

    def work(self) -> None:
        """Run a worker with the default settings but one thread."""
        Worker(self.gator, concurrency=1, log_level="WARNING").run_forever()
