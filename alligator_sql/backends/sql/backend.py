"""The backend for relational databases: which statement runs when, and in what transaction."""

import json
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import Connection, Engine, Row
from sqlalchemy.exc import InterfaceError, OperationalError

from ...constants import CANCELED, WAITING
from ...exceptions import StoreUnavailableError, UnknownTaskError, Unsupported
from ...ids import id_of
from ...messages import (
    Claim,
    Ending,
    Failure,
    Message,
    Payload,
    Receipt,
    TaskRecord,
    WorkerRecord,
)
from ...outcomes import Settlement
from ..base import Backend, report_stale
from ..capabilities import Capabilities
from . import engines, joining, rescuing, schema
from .dialects import Dialect, PutBack, Steps
from .listeners import Listener, PostgreSQLListener, SQLiteListener, channel_of
from .payloads import decode
from .postgresql import PostgreSQL
from .settling import Settler
from .sqlite import SQLite
from .statements import Statements
from .steps import drive, on_sqlalchemy
from .tables import DEFAULT_PREFIX, Names, build

NOTIFY_INTERVAL = 0.01
"""Seconds between two notifications of one queue by one process, outside of transactions
of the caller. A worker that was just woken soon looks again by itself."""
NOTIFY_HORIZON = 5.0
"""Seconds: a task due later than this needs no notification, idle workers look more often."""
PRUNE_BATCH = 1000
STRAY_INTERVAL = 180.0
"""Seconds between two searches for running tasks whose worker has no row."""
ENQUEUE_ATTEMPTS = 5
_RESULTS = "results"


class SQLBackend(Backend):
    """Tasks in PostgreSQL or SQLite.

    Args:
        conn_string: ``postgresql://user@host/database``, ``sqlite:///relative.db`` or
            ``sqlite:////absolute.db``. Not needed with ``engine``.
        engine: A SQLAlchemy engine of the application to share.
        prefix: What the names of the tables start with.
        schema: The PostgreSQL schema of the tables; by default the search path decides.
    """

    name: ClassVar[str] = "SQL"
    capabilities: ClassVar[Capabilities] = Capabilities(
        transactional=True,
        lease=True,
        delay=True,
        priority=True,
        expires=True,
        unique_key=True,
        claim_by_id=True,
        cancel=True,
        find=True,
        results=True,
        retention=True,
        wake=True,
        cross_process=True,
    )

    def __init__(
        self,
        conn_string: str = "",
        *,
        engine: Engine | None = None,
        prefix: str = DEFAULT_PREFIX,
        schema: str | None = None,
    ) -> None:
        self.engine = _checked(engine) if engine is not None else engines.create(conn_string)
        self._owns_engine = engine is None
        self.names = Names(prefix, schema)
        self._dialect: Dialect = (
            SQLite(self.names) if self.engine.dialect.name == "sqlite" else PostgreSQL(self.names)
        )
        self._statements = Statements(build(self.names), self._dialect)
        self._settler = Settler(self._dialect, self._statements)
        self._is_sqlite = self._dialect.name == "sqlite"
        # Single statements commit themselves; the others must not inherit the level of the
        # application: under REPEATABLE READ a claim fails when somebody else was faster.
        self._autocommit = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._transactional = (
            self.engine
            if self._is_sqlite
            else self.engine.execution_options(isolation_level="READ COMMITTED")
        )
        self._writer = threading.Lock()
        self._ready = False
        self._notified: dict[str, float] = {}
        self._last_stray_search = time.monotonic()
        self._listeners: dict[tuple[int, tuple[str, ...]], Listener] = {}

    # Opening and closing

    def open(self) -> None:
        """Connect and check the schema; on SQLite create it when it is missing."""
        if not self._ready:
            with self._transaction() as connection:
                drive(self._prepare(), on_sqlalchemy(connection))
            self._ready = True

    def close(self) -> None:
        """Close the connections, but not the pool of an engine of the application."""
        while self._listeners:
            self._listeners.popitem()[1].close()
        if self._owns_engine:
            self.engine.dispose()

    def _prepare(self) -> Steps[None]:
        if self._is_sqlite:
            yield from schema.create(self.names)
        else:
            yield from schema.verify(self.names, self._dialect.name)

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """A transaction that writes, on a connection of ours."""
        with _translated(), self._one_writer(), self._connect(self._transactional) as connection:
            if self._is_sqlite:
                _begin_immediate(connection)
            yield connection
            connection.commit()

    @contextmanager
    def _connect(self, engine: Engine) -> Iterator[Connection]:
        with engine.connect() as connection:
            if self._owns_engine:
                yield connection
            else:
                with engines.replanned(connection):
                    yield connection

    def _one_writer(self) -> AbstractContextManager[Any]:
        """SQLite's own queue of writers is unfair, so threads wait for each other here."""
        return self._writer if self._is_sqlite else threading.Lock()

    @contextmanager
    def _statement(self) -> Iterator[Connection]:
        """A connection of ours for statements that stand alone."""
        self.open()
        with _translated(), self._connect(self._autocommit) as connection:
            yield connection

    # Enqueueing

    def enqueue(self, messages: Sequence[Message], connection: Any = None) -> list[Receipt]:
        """Store messages of one queue; with ``connection`` in its transaction."""
        if connection is not None:
            joined = joining.unscoped(connection)
            steps = self._enqueue(messages, joined=joined)
            return joining.run(joined, steps, self._dialect.name)
        self.open()
        steps = self._enqueue(messages, joined=None)
        if self._is_sqlite:
            with self._transaction() as own:
                return drive(steps, on_sqlalchemy(own))
        with self._statement() as own:
            return drive(steps, on_sqlalchemy(own))

    async def aenqueue(self, messages: Sequence[Message], connection: Any) -> list[Receipt]:
        """Store messages of one queue in the transaction of an asynchronous connection."""
        joined = joining.unscoped(connection)
        steps = self._enqueue(messages, joined=joined)
        return await joining.arun(joined, steps, self._dialect.name)

    def is_async(self, connection: Any) -> bool:
        """Whether ``connection`` needs :meth:`aenqueue`."""
        return joining.is_async(connection)

    def _enqueue(self, messages: Sequence[Message], *, joined: Any) -> Steps[list[Receipt]]:
        if not self._ready:
            yield from self._prepare()
            # SQLite's tables, when they were created just now, go if the caller rolls back.
            self._ready = not self._is_sqlite
        channel = self._channel(messages, joined)
        new = yield from self._dialect.enqueue(messages, channel)
        if channel is not None and joined is None:
            self._notified[messages[0].queue] = time.monotonic()
        if len(messages) > 1:
            return [Receipt(message.id, message.id not in new) for message in messages]
        if new:
            return [Receipt(messages[0].id)]
        return [(yield from self._existing(messages[0], channel))]

    def _existing(self, message: Message, channel: str | None) -> Steps[Receipt]:
        """Find the task that kept ``message`` from being stored; it may end at any moment."""
        tasks, payloads = self.names.table("tasks"), self.names.table("payloads")
        by_key = (
            f"select t.id, p.payload from {tasks} t join {payloads} p on p.id = t.id "
            "where t.queue = :queue and t.unique_key = :unique_key"
        )
        by_id = f"select id, payload from {payloads} where id = :id"
        for _ in range(ENQUEUE_ATTEMPTS):
            rows = yield by_id, {"id": self._dialect.key(message.id)}
            if not rows and message.unique_key is not None:
                rows = yield by_key, {"queue": message.queue, "unique_key": message.unique_key}
            for task_id, payload in rows:
                known = task_id if isinstance(task_id, UUID) else UUID(task_id)
                return Receipt(known, duplicate=True, payload=decode(payload))
            if (yield from self._dialect.enqueue([message], channel)):
                return Receipt(message.id)
        raise StoreUnavailableError(
            f"The task with unique_key={message.unique_key!r} ended {ENQUEUE_ATTEMPTS} times while "
            "it was looked up. Try again."
        )

    def _channel(self, messages: Sequence[Message], joined: Any) -> str | None:
        """The channel to notify, or None when nobody needs to be woken."""
        if self._is_sqlite or not messages:
            return None
        soon = any(m.due.absolute or m.due.seconds <= NOTIFY_HORIZON for m in messages)
        queue = messages[0].queue
        if joined is not None:
            return channel_of(self.names, queue) if soon and joining.can_notify(joined) else None
        recent = time.monotonic() - self._notified.get(queue, float("-inf")) < NOTIFY_INTERVAL
        return channel_of(self.names, queue) if soon and not recent else None

    # Claiming and settling

    def claim(
        self,
        queues: Sequence[str],
        limit: int,
        worker: UUID,
        settlements: Sequence[Settlement] = (),
    ) -> list[Claim]:
        """Acknowledge and claim in one transaction."""
        self.open()
        claims: list[Claim] = []
        with self._transaction() as connection:
            if settlements:
                self._settle(connection, settlements)
            for queue in queues:
                if len(claims) >= limit:
                    break
                steps = self._dialect.claim(queue, limit - len(claims), worker)
                claims += drive(steps, on_sqlalchemy(connection))
        return claims

    def claim_one(self, queue: str, task_id: str, worker: UUID) -> Claim | None:
        """Hold one waiting task."""
        self.open()
        with self._transaction() as connection:
            claims = drive(
                self._dialect.claim_one(id_of(task_id), worker), on_sqlalchemy(connection)
            )
        return claims[0] if claims else None

    def ack(self, settlements: Sequence[Settlement]) -> set[UUID]:
        """Persist outcomes."""
        self.open()
        with self._transaction() as connection:
            return self._settle(connection, settlements)

    def _settle(self, connection: Connection, settlements: Sequence[Settlement]) -> set[UUID]:
        applied = self._settler.settle(connection, settlements, self._announcer(connection))
        report_stale(settlements, applied)
        return applied

    def _announcer(self, connection: Connection) -> Callable[[UUID], None]:
        """Return what tells those who wait for results that a task has ended."""
        channel = channel_of(self.names, _RESULTS)

        def announce(task_id: UUID) -> None:
            if not self._is_sqlite:
                connection.exec_driver_sql("select pg_notify(%s, %s)", (channel, task_id.hex))

        return announce

    # Workers

    def heartbeat(self, worker: WorkerRecord, *, first: bool = False) -> bool:
        """Begin or renew the lease of a worker."""
        self.open()
        with self._transaction() as connection:
            if first:
                connection.execute(
                    self._statements.join_worker,
                    {
                        "worker": worker.id,
                        "ttl": worker.ttl,
                        "pid": worker.pid,
                        "host": worker.host,
                        "queues": json.dumps(worker.queues),
                    },
                )
                return True
            renewed = connection.execute(
                self._statements.heartbeat, {"worker": worker.id, "ttl": worker.ttl}
            )
            return renewed.rowcount == 1

    def leave(self, worker: UUID, *, holds: bool) -> None:
        """End a lease; the row stays for the rescuers while tasks point to it."""
        statement = self._statements.expire_worker if holds else self._statements.remove_worker
        with self._transaction() as connection:
            connection.execute(statement, {"worker": worker})

    def reconcile(self, worker: UUID, held: Collection[UUID]) -> list[UUID]:
        """Hand back what a worker does not know that it holds."""
        self.open()
        with self._transaction() as connection:
            found = connection.execute(self._statements.orphans, {"workers": [worker]})
            lost = [PutBack(row.id, row.lease, WAITING, None, 1) for row in found]
            lost = [row for row in lost if row.id not in held]
            if not lost:
                return []
            return list(drive(self._dialect.put_back(worker, lost), on_sqlalchemy(connection)))

    def rescue(self, max_crashes: int) -> list[UUID]:
        """Take back the tasks of dead workers."""
        self.open()
        now = time.monotonic()
        thorough = now - self._last_stray_search >= STRAY_INTERVAL
        with self._transaction() as connection:
            rescued = rescuing.rescue(
                connection,
                self._dialect,
                self._statements,
                self._settler,
                max_crashes,
                thorough=thorough,
            )
        if thorough:
            self._last_stray_search = now
        return rescued

    def prune(self, keep_success: float, keep_failed: float) -> int:
        """Remove the history that is old enough, in batches."""
        self.open()
        pruned = 0
        for statement, keep in (
            (self._statements.old_successes, keep_success),
            (self._statements.old_failures, keep_failed),
        ):
            while True:
                with self._transaction() as connection:
                    found = connection.scalars(
                        statement, {"minus_keep": -keep, "batch": PRUNE_BATCH}
                    ).all()
                    for forget in self._statements.forget if found else ():
                        connection.execute(forget, {"ids": found})
                pruned += len(found)
                if len(found) < PRUNE_BATCH:
                    break
        return pruned

    # Waking

    def listen(self, queues: Sequence[str], timeout: float) -> bool:
        """Wait for a notification, or on SQLite for any commit."""
        key = (threading.get_ident(), tuple(queues))
        listener = self._listeners.get(key)
        if listener is None:
            self._listeners[key] = self._listener(queues)
            return True  # whatever came before the listener stood is news
        try:
            return listener.wait(timeout)
        except StoreUnavailableError:
            self._listeners.pop(key, listener).close()
            raise

    def _listener(self, topics: Sequence[str]) -> Listener:
        self.open()
        with _translated():
            if self._is_sqlite:
                return SQLiteListener(self.engine)
            channels = [channel_of(self.names, topic) for topic in topics]
            return PostgreSQLListener(self.engine, channels)

    def due_in(self, queues: Sequence[str]) -> float | None:
        """Return the seconds until the next task that is not due yet."""
        waits = []
        with self._statement() as connection:
            for queue in queues:
                due, now = connection.execute(self._statements.next_due, {"queue": queue}).one()
                if due is not None:
                    waits.append(max(0.0, (due - now).total_seconds()))
        return min(waits, default=None)

    # Looking and removing

    def len(self, queue: str) -> int:
        """Return how many tasks of a queue wait."""
        with self._statement() as connection:
            return int(connection.scalar(self._statements.length, {"queue": queue}) or 0)

    def drop_all(self, queue: str) -> None:
        """Remove the waiting tasks of a queue."""
        self.open()
        with self._transaction() as connection:
            ids = connection.scalars(self._statements.waiting_ids, {"queue": queue}).all()
            for start in range(0, len(ids), PRUNE_BATCH):
                batch = ids[start : start + PRUNE_BATCH]
                connection.execute(self._statements.delete_payloads, {"ids": batch})
                connection.execute(self._statements.delete_tasks, {"ids": batch})

    def cancel(self, queue: str, task_id: str) -> Payload | None:
        """End a waiting task as canceled."""
        self.open()
        key = id_of(task_id)
        with self._transaction() as connection:
            row = connection.execute(self._statements.waiting_task, {"id": key}).one_or_none()
            if row is None:
                return None
            ended = {
                column: getattr(row, column)
                for column in (
                    *("id", "queue", "func", "priority", "attempts", "crashes", "created_at"),
                    *("run_at", "started_at", "worker_id", "unique_key", "tags"),
                )
            }
            connection.execute(
                self._statements.add_finished, ended | {"status": CANCELED, "reason": "canceled"}
            )
            connection.execute(self._statements.delete_tasks, {"ids": [key]})
            self._announcer(connection)(key)
            return decode(row.payload)

    def find(self, task_id: str) -> TaskRecord | None:
        """Return what is known about a task."""
        key = id_of(task_id)
        with self._statement() as connection:
            row = _live_or_ended(connection, self._statements, key)
            if row is None:
                return None
            error = connection.execute(self._statements.last_error, {"id": key}).one_or_none()
            return _record(row, error)

    def ending(self, task_id: str, timeout: float) -> Ending | None:
        """Wait for the end of a task."""
        deadline = time.monotonic() + timeout
        ending = self._ending(task_id)
        if ending is not None or timeout <= 0:
            return ending
        listener = self._listener([_RESULTS])
        try:
            while True:
                ending = self._ending(task_id)
                rest = deadline - time.monotonic()
                if ending is not None or rest <= 0:
                    return ending
                listener.wait(min(rest, 1.0))
        finally:
            listener.close()

    def _ending(self, task_id: str) -> Ending | None:
        key = id_of(task_id)
        with self._statement() as connection:
            row = _live_or_ended(connection, self._statements, key)
            if row is None:
                raise UnknownTaskError(f"No task {task_id} is known: never enqueued, or pruned.")
            if not hasattr(row, "finished_at"):
                return None
            result = connection.execute(self._statements.result, {"id": key}).one_or_none()
            error = connection.execute(self._statements.last_error, {"id": key}).one_or_none()
        failure = None
        if error is not None:
            failure = Failure(error.kind, error.message, error.traceback, row.reason)
        return Ending(
            status=row.status,
            value=result.result if result is not None else None,
            problem=result.problem if result is not None else None,
            failure=failure,
        )


def _checked(engine: Any) -> Engine:
    if not isinstance(engine, Engine):
        raise Unsupported(
            f"engine= takes a synchronous SQLAlchemy Engine, not {type(engine).__name__}. With an "
            "AsyncEngine give the DSN too, and join its sessions with gator.using(session)."
        )
    if engine.dialect.name == "sqlite":
        engines.check_sqlite(engine.url)
    elif engine.dialect.name != "postgresql" or engine.dialect.driver != "psycopg":
        raise Unsupported(
            f"engine= has the dialect {engine.dialect.name}+{engine.dialect.driver}. Tasks are "
            "stored in postgresql+psycopg or sqlite."
        )
    return engine


def _begin_immediate(connection: Connection) -> None:
    """Take the write lock at once: a transaction that reads first cannot wait for it later."""
    driver_connection: Any = connection.connection.driver_connection
    if not driver_connection.in_transaction:
        connection.exec_driver_sql("begin immediate")


@contextmanager
def _translated() -> Iterator[None]:
    """Turn the driver's way of saying that the database is away into ours."""
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        raise StoreUnavailableError(f"The database does not answer: {error.orig}") from error


def _live_or_ended(
    connection: Connection, statements: Statements, task_id: UUID
) -> Row[Any] | None:
    """Find a task that may move from one table to the other between the looks."""
    for statement in (statements.ended_task, statements.live_task, statements.ended_task):
        row = connection.execute(statement, {"id": task_id}).one_or_none()
        if row is not None:
            return row
    return None


def _record(row: Any, error: Any) -> TaskRecord:
    reason = getattr(row, "reason", None)
    return TaskRecord(
        id=row.id,
        queue=row.queue,
        func=row.func,
        status=row.status,
        priority=row.priority,
        attempts=row.attempts,
        crashes=row.crashes,
        created_at=row.created_at,
        run_at=row.run_at,
        started_at=row.started_at,
        finished_at=getattr(row, "finished_at", None),
        worker_id=row.worker_id,
        unique_key=row.unique_key,
        tags=tuple(json.loads(row.tags)) if row.tags else (),
        reason=reason,
        error=reason if error is None else f"{error.kind}: {error.message}",
    )
