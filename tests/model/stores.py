"""The stores that the model is compared with, each emptied for every example."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Protocol
from uuid import UUID

from alligator_sql.backends import Backend
from alligator_sql.backends.locmem import LocalMemoryBackend
from alligator_sql.backends.redis import RedisBackend
from alligator_sql.backends.sql import SQLBackend
from alligator_sql.outcomes import Settlement
from alligator_sql.testing.clock import ManualClock, advance
from tests import redis_servers
from tests.helpers import in_transactions
from tests.postgres_servers import empty


class Store(Protocol):
    """A store that several workers share.

    Attributes:
        is_exact: Each claim takes the first of what is due. Otherwise only the first claim
            of a process does; the others may go on where the last one ended.
        knows_ids_everywhere: An id is known once. Otherwise it is known once in each queue.
    """

    is_exact: bool
    knows_ids_everywhere: bool

    def process(self) -> Backend:
        """Return a backend as one more process would have it."""
        ...

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        ...

    def complete(self, settlement: Settlement, *, commits: bool) -> bool:
        """Complete a task in a transaction of the caller, and commit or roll back."""
        ...

    def close(self) -> None: ...


class LocalMemoryStore:
    """A dict with a clock of its own."""

    is_exact = True
    knows_ids_everywhere = True
    _numbers = count(1)

    def __init__(self) -> None:
        self._clock = ManualClock()
        self._conn_string = f"locmem://model-{next(self._numbers)}"

    def process(self) -> Backend:
        return LocalMemoryBackend(self._conn_string, clock=self._clock)

    def advance(self, seconds: float) -> None:
        self._clock.advance(seconds)

    def complete(self, settlement: Settlement, *, commits: bool) -> bool:
        raise NotImplementedError("It declares no transactions.")

    def close(self) -> None:
        """Leave it to the end of the process."""


class SQLStore:
    """An empty database."""

    knows_ids_everywhere = True

    def __init__(self, dsn: str, *, is_exact: bool) -> None:
        self.is_exact = is_exact
        self._dsn = dsn
        self._processes = [SQLBackend(dsn)]

    def process(self) -> Backend:
        backend = SQLBackend(self._dsn)
        self._processes.append(backend)
        return backend

    def advance(self, seconds: float) -> None:
        advance(self._processes[0], seconds)

    def complete(self, settlement: Settlement, *, commits: bool) -> bool:
        backend = self._processes[0]
        with in_transactions(backend.engine).connect() as connection:
            completed = backend.complete(settlement, connection)
            if commits:
                connection.commit()
            return completed

    def close(self) -> None:
        for backend in self._processes:
            backend.close()


class _Process(RedisBackend):
    """A process that says more of its workers after they have left."""

    def leave(self, worker: UUID, *, holds: bool) -> None:
        queues = self._queues_of[worker]
        super().leave(worker, holds=holds)
        self._queues_of[worker] = queues


class RedisStore:
    """An empty server. A worker stays in its process there, so one has to do for all."""

    is_exact = True
    knows_ids_everywhere = False

    def __init__(self, dsn: str) -> None:
        self._process = _Process(dsn)

    def process(self) -> Backend:
        return self._process

    def advance(self, seconds: float) -> None:
        redis_servers.advance(self._process, seconds)

    def complete(self, settlement: Settlement, *, commits: bool) -> bool:
        raise NotImplementedError("It declares no transactions.")

    def close(self) -> None:
        self._process.connections.call([("FLUSHALL",)])
        self._process.close()


@contextmanager
def sqlite(template: Path, folder: Path) -> Iterator[Store]:
    path = folder / "model.db"
    shutil.copy(template, path)
    store = SQLStore(f"sqlite:///{path}", is_exact=True)
    try:
        yield store
    finally:
        store.close()
        for file in folder.glob("model.db*"):
            file.unlink()


@contextmanager
def postgresql(dsn: str) -> Iterator[Store]:
    store = SQLStore(dsn, is_exact=False)
    try:
        yield store
    finally:
        store.close()
        empty(dsn)
