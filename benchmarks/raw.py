"""The other contender: the driver of each database, without anything around it.

Rows are prepared before the clock starts, so what is measured is the limit that database
and driver set.
"""

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from time import perf_counter, sleep
from typing import Any
from uuid import UUID

import psycopg
from sqlalchemy import make_url

from alligator_sql.backends import Backend
from alligator_sql.backends.sql import copying
from alligator_sql.backends.sql.dialects import Dialect, Ended, Parameters, Rows
from alligator_sql.backends.sql.listeners import channel_of
from alligator_sql.backends.sql.payloads import pack
from alligator_sql.backends.sql.postgresql import PostgreSQL
from alligator_sql.backends.sql.sqlite import SQLite
from alligator_sql.backends.sql.steps import drive, on_psycopg, on_sqlite3
from alligator_sql.backends.sql.tables import Names
from alligator_sql.constants import SUCCESS
from alligator_sql.messages import Claim, Message

CLAIM = 100
"""Tasks that are claimed and acknowledged at a time."""
TABLES = ("alligator_tasks", "alligator_payloads", "alligator_finished")

Insert = Callable[[Sequence[Message]], float]
"""Stores messages and returns the seconds that it took."""


class Raw(ABC):
    """A connection of the driver.

    Attributes:
        connection: The connection itself.
        dialect: The statements of the package for this database.
        execute: Executes one of them.
    """

    connection: Any
    dialect: Dialect
    execute: Callable[[str, Parameters], Rows]

    @abstractmethod
    def inserts(self) -> dict[str, Insert]:
        """Return the ways to store messages one by one, the quickest first."""

    @abstractmethod
    def bulk_inserts(self) -> dict[str, Insert]:
        """Return the ways to store many messages, the quickest first."""

    @abstractmethod
    def transaction(self) -> AbstractContextManager[None]:
        """Return a transaction that writes."""

    @abstractmethod
    def clear(self) -> None:
        """Empty the tables."""

    @abstractmethod
    def close(self) -> None:
        """Close the connection."""

    @abstractmethod
    def listen(self, queue: str) -> None:
        """Begin to listen for news of ``queue``."""

    @abstractmethod
    def wait(self) -> None:
        """Wait for news."""

    def enqueue(self, message: Message) -> None:
        """Store one message with the statements of the package, and wake who listens."""
        with self.transaction():
            drive(self.dialect.enqueue([message], channel(message.queue)), self.execute)

    def drain(self, queue: str, worker: UUID, count: Callable[[Claim], object]) -> None:
        """Claim and acknowledge until ``queue`` is empty; ``count`` each task."""
        claims: list[Claim] = []
        while True:
            with self.transaction():
                if claims:
                    self.end(worker, claims)
                claims = self.claim(queue, CLAIM, worker)
            for claim in claims:
                count(claim)
            if not claims:
                return

    def claim(self, queue: str, limit: int, worker: UUID) -> list[Claim]:
        """Claim with the statements of the package."""
        return drive(self.dialect.claim([queue], limit, worker), self.execute)

    def end(self, worker: UUID, claims: Sequence[Claim]) -> None:
        """Acknowledge successes with the statements of the package."""
        rows = [Ended(claim.id, claim.lease, SUCCESS, None, 0) for claim in claims]
        drive(self.dialect.end(worker, rows), self.execute)


def channel(queue: str) -> str:
    """Return the channel that wakes the workers of ``queue``."""
    return channel_of(Names(), queue)


def _text(message: Message) -> str:
    """Return what the package stores as the payload of ``message``."""
    return pack(message.payload, message.id, message.func)


def connect(dsn: str) -> Raw:
    """Connect to the database ``dsn`` with its own driver."""
    return RawSqlite(dsn) if dsn.startswith("sqlite") else RawPostgres(dsn)


class RawPostgres(Raw):
    """psycopg."""

    _TASK = """
        insert into alligator_tasks (id, queue, priority, run_at, created_at, status, func)
        values (%s, %s, 0, now(), now(), 0, %s)
    """
    _PAYLOAD = "insert into alligator_payloads (id, payload) values (%s, %s)"
    _MANY = """
        with task as (
            insert into alligator_tasks (id, queue, priority, run_at, created_at, status, func)
            select id, queue, 0, now(), now(), 0, func
              from unnest(%s::uuid[], %s::text[], %s::text[]) as m(id, queue, func)
        )
        insert into alligator_payloads (id, payload)
        select * from unnest(%s::uuid[], %s::text[])
    """

    def __init__(self, dsn: str) -> None:
        self.connection = psycopg.connect(dsn, autocommit=True)
        self.dialect = PostgreSQL(Names())
        self.execute = on_psycopg(self.connection)

    def inserts(self) -> dict[str, Insert]:
        """One statement for both rows, or two in a transaction."""
        return {"psycopg, one statement": self._one, "psycopg, two and commit": self._two}

    def bulk_inserts(self) -> dict[str, Insert]:
        """COPY in one transaction, or unnest with a commit for each batch."""
        return {"psycopg, COPY": self._copy, "psycopg, unnest": self._unnest}

    def _one(self, messages: Sequence[Message]) -> float:
        both = f"with task as ({self._TASK}) {self._PAYLOAD}".encode()
        rows = [(m.id, m.queue, m.func, m.id, _text(m)) for m in messages]
        started = perf_counter()
        for row in rows:
            self.connection.execute(both, row)
        return perf_counter() - started

    def _two(self, messages: Sequence[Message]) -> float:
        rows = [((m.id, m.queue, m.func), (m.id, _text(m))) for m in messages]
        started = perf_counter()
        for task, payload in rows:
            with self.connection.transaction():
                self.connection.execute(self._TASK, task)
                self.connection.execute(self._PAYLOAD, payload)
        return perf_counter() - started

    def _unnest(self, messages: Sequence[Message]) -> float:
        batches = []
        for start in range(0, len(messages), copying.BATCH):
            batch = messages[start : start + copying.BATCH]
            ids = [m.id for m in batch]
            queues, funcs = [m.queue for m in batch], [m.func for m in batch]
            batches.append((ids, queues, funcs, ids, [_text(m) for m in batch]))
        started = perf_counter()
        for parameters in batches:
            self.connection.execute(self._MANY, parameters)
        return perf_counter() - started

    def _copy(self, messages: Sequence[Message]) -> float:
        now = self.connection.execute("select now()").fetchall()[0][0]
        tasks = [(m.id, m.queue, 0, now, now, 0, m.func) for m in messages]
        payloads = [(m.id, _text(m)) for m in messages]
        started = perf_counter()
        with self.connection.transaction(), self.connection.cursor() as cursor:
            with cursor.copy(
                "copy alligator_tasks (id, queue, priority, run_at, created_at, status, func) "
                "from stdin"
            ) as copy:
                for task in tasks:
                    copy.write_row(task)
            with cursor.copy("copy alligator_payloads (id, payload) from stdin") as copy:
                for payload in payloads:
                    copy.write_row(payload)
        return perf_counter() - started

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """A transaction of READ COMMITTED."""
        with self.connection.transaction():
            yield

    def listen(self, queue: str) -> None:
        """LISTEN."""
        self.connection.execute(f'listen "{channel(queue)}"'.encode())

    def wait(self) -> None:
        """Wait for a notification."""
        for _ in self.connection.notifies(timeout=1.0, stop_after=1):
            pass

    def clear(self) -> None:
        """Truncate the tables."""
        self.connection.execute(f"truncate {', '.join(TABLES)}".encode())

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()


class RawSqlite(Raw):
    """The module sqlite3, with the settings of the package."""

    _NOW = SQLite.now
    _TASK = f"""
        insert into alligator_tasks (id, queue, priority, run_at, created_at, status, func)
        values (?, ?, 0, {_NOW}, {_NOW}, 0, ?)
    """
    _PAYLOAD = "insert into alligator_payloads (id, payload) values (?, ?)"

    def __init__(self, dsn: str) -> None:
        path = make_url(dsn).database
        assert path is not None
        self.connection = sqlite3.connect(path, timeout=30, isolation_level=None)
        self.connection.execute("pragma journal_mode = wal")
        self.connection.execute("pragma synchronous = full")
        self._seen = 0
        self.dialect = SQLite(Names())
        self.execute = on_sqlite3(self.connection)

    def inserts(self) -> dict[str, Insert]:
        """Two inserts in a transaction."""
        return {"sqlite3": self._two}

    def bulk_inserts(self) -> dict[str, Insert]:
        """Two ``executemany`` with a commit for each batch."""
        return {"sqlite3, executemany": self._many}

    def _two(self, messages: Sequence[Message]) -> float:
        rows = [((m.id.hex, m.queue, m.func), (m.id.hex, _text(m))) for m in messages]
        started = perf_counter()
        for task, payload in rows:
            with self.transaction():
                self.connection.execute(self._TASK, task)
                self.connection.execute(self._PAYLOAD, payload)
        return perf_counter() - started

    def _many(self, messages: Sequence[Message]) -> float:
        tasks = [(m.id.hex, m.queue, m.func) for m in messages]
        payloads = [(m.id.hex, _text(m)) for m in messages]
        started = perf_counter()
        batch = Backend.batch
        for start in range(0, len(messages), batch):
            with self.transaction():
                self.connection.executemany(self._TASK, tasks[start : start + batch])
                self.connection.executemany(self._PAYLOAD, payloads[start : start + batch])
        return perf_counter() - started

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """A transaction that takes the write lock at once."""
        self.connection.execute("begin immediate")
        yield
        self.connection.execute("commit")

    def listen(self, queue: str) -> None:  # noqa: ARG002
        """Note the version of the data."""
        self._seen = self._version()

    def wait(self) -> None:
        """Look for another version every millisecond."""
        while (version := self._version()) == self._seen:
            sleep(0.001)
        self._seen = version

    def _version(self) -> int:
        return int(self.connection.execute("pragma data_version").fetchone()[0])

    def clear(self) -> None:
        """Delete all rows, and start the log anew."""
        for table in TABLES:
            self.connection.execute(f"delete from {table}")
        self.connection.execute("pragma wal_checkpoint(truncate)")

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()
