"""RQ on Redis: https://github.com/rq/rq."""

from collections.abc import Callable
from time import perf_counter
from typing import Any

from redis import Redis  # noqa: TID253
from rq import Queue, SimpleWorker  # type: ignore[import-not-found, import-untyped, unused-ignore]

from . import tasks
from .adapter import Adapter


class Rq(Adapter):
    """``enqueue`` without results, ``enqueue_many``, and a worker that does not fork."""

    def __init__(self, dsn: str) -> None:
        self._connection = Redis.from_url(dsn)
        self._queue = Queue("bench", connection=self._connection)

    def enqueue(self, function: Callable[..., None], *args: Any) -> None:
        """Enqueue the function."""
        self._queue.enqueue(function, args=args, result_ttl=0)

    def enqueue_many(self, number: int, subject: str = tasks.SUBJECT) -> float:
        """Enqueue by pipelines."""
        started = perf_counter()
        for first in range(0, number, 1000):
            calls = [
                Queue.prepare_data(tasks.deliver, args=(tasks.mail(each, subject),), result_ttl=0)
                for each in range(first, min(first + 1000, number))
            ]
            self._queue.enqueue_many(calls)
        return perf_counter() - started

    def work(self) -> None:
        """Run the worker."""
        SimpleWorker([self._queue], connection=self._connection).work(logging_level="WARNING")
