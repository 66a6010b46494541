"""psycopg or sqlite3, without anything around it."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from alligator_sql import ALL, Gator, Task
from alligator_sql.messages import WorkerRecord

from .. import raw
from ..tasks import prepared
from . import tasks
from .adapter import Adapter


class SqlDriver(Adapter):
    """Stores prepared rows; claims and acknowledges with the statements of the package.

    Args:
        dsn: Where the database is.
        way: Which of the ways to insert, the quickest is 0.
    """

    def __init__(self, dsn: str, *, way: int = 0) -> None:
        self._gator = Gator(dsn)
        self._raw = raw.connect(dsn)
        self._way = way

    def enqueue(self, function: Callable[..., None], *args: Any) -> None:
        """Store one task and notify."""
        task = Task()
        task.to_call(function, *args)
        self._raw.enqueue(self._gator.message_of(task))

    def enqueue_one_by_one(self, number: int) -> float:
        """Store rows that are prepared before the clock starts, each with its own commit."""
        insert = list(self._raw.inserts().values())[self._way]
        return insert(prepared(self._gator, number))

    def enqueue_many(self, number: int, subject: str = tasks.SUBJECT) -> float:
        """Load rows that are prepared before the clock starts."""
        insert = list(self._raw.bulk_inserts().values())[self._way]
        return insert(prepared(self._gator, number, subject))

    def work(self) -> None:
        """Claim and acknowledge by 100; run nothing but the count."""
        worker = self._registered()
        self._raw.listen(ALL)
        while True:
            with _unterminated():
                self._raw.drain(ALL, worker.id, lambda _: tasks.deliver({}))
            self._raw.wait()

    def wait(self) -> None:
        """Claim each task as soon as there is news, and run it."""
        worker = self._registered()
        self._raw.listen(ALL)
        while True:
            with self._raw.transaction():
                claims = self._raw.claim(ALL, 1, worker.id)
            for claim in claims:
                Task.deserialize(claim.payload or "").run()
            if claims:
                with self._raw.transaction():
                    self._raw.end(worker.id, claims)
            else:
                self._raw.wait()

    def _registered(self) -> WorkerRecord:
        worker = WorkerRecord(uuid4(), "driver", 0, (ALL,), 3600.0)
        self._gator.store.heartbeat(worker, first=True)
        return worker


@contextmanager
def _unterminated() -> Iterator[None]:
    """Let SIGTERM wait until what is claimed is acknowledged."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
