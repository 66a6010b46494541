"""This package."""

from collections.abc import Callable
from time import perf_counter
from typing import Any

from alligator_sql import Gator, Worker
from alligator_sql.workers.interpreter import collect_rarely

from . import tasks
from .adapter import Adapter


class Ours(Adapter):
    """``Gator``, and a ``Worker`` with its default settings, which are one thread.

    Args:
        dsn: Where the store is.
        function: What many tasks are enqueued of.
        worker: Other settings of the worker.
    """

    def __init__(self, dsn: str, *, function: str = "deliver", **worker: Any) -> None:
        self.gator = Gator(dsn)
        self._function = getattr(tasks, function)
        self._worker = {"log_level": "WARNING", **worker}

    def enqueue(self, function: Callable[..., None], *args: Any) -> None:
        """Enqueue by ``gator.task``."""
        self.gator.task(function, *args)

    def enqueue_many(self, number: int, subject: str = tasks.SUBJECT) -> float:
        """Enqueue by ``gator.map`` over a generator."""
        started = perf_counter()
        self.gator.map(self._function, (tasks.mail(each, subject) for each in range(number)))
        return perf_counter() - started

    def work(self) -> None:
        """Run a worker."""
        self.gator.open()
        collect_rarely()  # as the command does
        Worker(self.gator, **self._worker).run_forever()


class OursJoined(Ours):
    """Enqueues many tasks in one transaction of the caller."""

    def __init__(self, dsn: str) -> None:
        from alligator_sql.backends.sql import engines

        super().__init__(dsn)
        self._engine = engines.create(dsn, limited=False)

    def enqueue_many(self, number: int, subject: str = tasks.SUBJECT) -> float:
        """Enqueue by ``gator.using(…).map`` over a generator."""
        started = perf_counter()
        with self._engine.begin() as connection:
            self.gator.using(connection).map(
                tasks.deliver, (tasks.mail(each, subject) for each in range(number))
            )
        return perf_counter() - started
