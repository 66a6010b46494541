"""The backend for relational databases: which statement runs when, and in what transaction."""

import json
import logging
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import Connection, Engine

from ...constants import DEFAULT_PREFIX, WAITING
from ...exceptions import InvalidOptionError, StoreUnavailableError, UnknownTaskError
from ...ids import id_of
from ...messages import (
    Claim,
    Ending,
    Message,
    Payload,
    Progress,
    Receipt,
    Series,
    TaskRecord,
    WorkerRecord,
    number_new,
)
from ...outcomes import Released, Settlement
from ..base import Backend
from ..capabilities import Capabilities
from . import copying, engines, joining, rescuing, schema, single
from .connections import Connections
from .dialects import Dialect, PutBack, Steps, T
from .driver import on_idle_driver, pipelined
from .lane import Lane
from .operations import Operations
from .payloads import unpack
from .postgresql import PostgreSQL
from .records import Records
from .settling import Settler, is_plain
from .sqlite import SQLite
from .statements import Statements
from .steps import alone, drive, drive_both
from .tables import Names, build
from .troubles import Translated
from .wakeups import Wakeups

logger = logging.getLogger(__name__)

PRUNE_BATCH = 1000
STRAY_INTERVAL = 180.0
"""Seconds between two searches for running tasks whose worker has no row."""
ENQUEUE_ATTEMPTS = 5


class SQLBackend(Backend):
    """Tasks in PostgreSQL or SQLite.

    Args:
        conn_string: ``postgresql://user@host/database``, ``sqlite:///relative.db`` or
            ``sqlite:////absolute.db``. Not needed with ``engine``.
        engine: A SQLAlchemy engine of the application to share.
        prefix: What the names of the tables start with.
        schema: The PostgreSQL schema of the tables; by default the search path decides.
        listen_url: Another connection string for the connection that waits for notifications,
            when ``conn_string`` or ``engine`` leads through a transaction pooler.

    Raises:
        UnknownBackendError: The connection string leads to no database or driver of ours.
        InvalidOptionError: A schema, a ``listen_url`` or a database in memory with SQLite, or
            an odd name.
        Unsupported: Not an engine that tasks can be stored with.
    """

    name: ClassVar[str] = "SQL"
    capabilities: ClassVar[Capabilities] = Capabilities(
        transactional=True,
        lease=True,
        fence=True,
        order=True,
        delay=True,
        priority=True,
        expires=True,
        unique_key=True,
        claim_by_id=True,
        cancel=True,
        interrupt=True,
        progress=True,
        find=True,
        retry=True,
        pause=True,
        results=True,
        retention=True,
        wake=True,
        cross_process=True,
    )
    options: ClassVar[frozenset[str]] = frozenset({"engine", "prefix", "schema", "listen_url"})

    def __init__(
        self,
        conn_string: str = "",
        *,
        engine: Engine | None = None,
        prefix: str = DEFAULT_PREFIX,
        schema: str | None = None,
        listen_url: str | None = None,
    ) -> None:
        self._connections = Connections(
            engines.create(conn_string) if engine is None else engine, owned=engine is None
        )
        self.engine = self._connections.engine
        self.names = Names(prefix, schema)
        self._is_sqlite = self.engine.dialect.name == "sqlite"
        if self._is_sqlite and schema is not None:
            raise InvalidOptionError("schema=: SQLite has no schemas: use a prefix.")
        self._dialect: Dialect = SQLite(self.names) if self._is_sqlite else PostgreSQL(self.names)
        self._statements = Statements(build(self.names), self._dialect)
        if not self._is_sqlite:
            self.batch = copying.BATCH
        has_lane = self._connections.owned and not self._is_sqlite
        self._lane = Lane(self.engine, self.names) if has_lane else None
        self._copier = copying.Copier(self.names)
        self._settler = Settler(self._dialect, self._statements, self._connections.executor)
        self._records = Records(self._statements)
        self._wakeups = Wakeups(self._connections, self.names, listen_url)
        self._operations = Operations(self._statements, self._wakeups)
        self._ready = False
        self._last_stray_search = time.monotonic()

    # Opening and closing

    def open(self) -> None:
        """Connect and check the schema; on SQLite create it when it is missing."""
        if not self._ready:
            self._connections.run(self._prepare())
            self._ready = True

    def close(self) -> None:
        """Close the connections, but not the pool of an engine of the application."""
        self._wakeups.close()
        if self._lane is not None:
            self._lane.close()
        self._connections.close()

    def _prepare(self) -> Steps[None]:
        if self._is_sqlite:
            yield from schema.create(self.names)
        else:
            yield from schema.verify(self.names, self._dialect.name)

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """A transaction that writes, on a connection of ours."""
        self.open()
        with self._wakeups.dispensable(), self._connections.transaction() as connection:
            yield connection

    @contextmanager
    def _statement(self) -> Iterator[Connection]:
        """A connection of ours for statements that stand alone."""
        self.open()
        with self._wakeups.dispensable(), self._connections.statement() as connection:
            yield connection

    def _drive(self, connection: Connection, steps: Steps[T]) -> T:
        return drive(steps, self._connections.executor(connection))

    # Enqueueing

    def enqueue(self, messages: Sequence[Message], connection: Any = None) -> list[Receipt]:
        """Store messages of one queue; with ``connection`` in its transaction."""
        if connection is not None:
            joined = joining.unscoped(connection)
            steps = self._enqueue(messages, self._wakeups.channel(messages, joined))
            return joining.run(joined, steps, self._dialect.name)
        return self._connections.insist(partial(self._enqueue_alone, messages))

    def _enqueue_alone(self, messages: Sequence[Message], is_repeated: bool) -> list[Receipt]:
        if self._is_sqlite:
            self.open()
            receipts = self._connections.run(self._enqueue(messages, None))
        else:
            receipts = self._enqueue_and_tell(messages, is_repeated)
        return _without_own(messages, receipts) if is_repeated else receipts

    def _enqueue_and_tell(self, messages: Sequence[Message], is_repeated: bool) -> list[Receipt]:
        """Store messages by one statement, which commits itself, and tell their workers."""
        wakes = self._wakeups.wakes(messages)
        if not is_repeated and self._is_stored_on_lane(messages, wakes):
            return [Receipt(messages[0].id)]
        with self._statement() as own:
            receipts = self._drive(own, self._enqueue(messages, None))
            if wakes:
                executor = self._connections.executor(own)
                self._wakeups.announce_new(messages[0].queue, executor)
        return receipts

    def _is_stored_on_lane(self, messages: Sequence[Message], wakes: bool) -> bool:
        """Store a new task on the fast lane, if there is one, and nobody else is on it."""
        if self._lane is None or not self._ready or not single.suits(messages):
            return False
        message = messages[0]
        announce = partial(self._wakeups.announce_new, message.queue) if wakes else None
        with Translated():
            return self._lane.insert(message, announce)

    def enqueue_series(self, series: Series) -> int:
        """Store new tasks that are alike; many of them by COPY, where it can."""
        if self._is_sqlite or not self._copier.suits(series):
            return super().enqueue_series(series)
        return self._connections.insist(partial(self._copy, series))

    def _copy(self, series: Series, is_repeated: bool) -> int:
        # COPY knows no duplicates, and another attempt may find what the first has stored.
        if not is_repeated:
            try:
                with self._transaction() as own:
                    self._copier.copy(own, series)
                    own.commit()
                    if self._wakeups.wakes([series.model]):
                        self._wakeups.announce_new(series.model.queue, on_idle_driver(own))
            except copying.RefusedError as error:
                logger.info("COPY cannot store %d tasks, so INSERT does: %s", len(series), error)
            else:
                return len(series)
        return number_new(self._enqueue_alone(series.messages(), is_repeated))

    async def aenqueue(self, messages: Sequence[Message], connection: Any) -> list[Receipt]:
        """Store messages of one queue in the transaction of an asynchronous connection."""
        joined = joining.unscoped(connection)
        steps = self._enqueue(messages, self._wakeups.channel(messages, joined))
        return await joining.arun(joined, steps, self._dialect.name)

    def is_async(self, connection: Any) -> bool:
        """Whether ``connection`` needs :meth:`aenqueue`."""
        return joining.is_async(connection)

    def _enqueue(self, messages: Sequence[Message], channel: str | None) -> Steps[list[Receipt]]:
        if not self._ready:
            yield from self._prepare()
            # SQLite's tables, when they were created just now, go if the caller rolls back.
            self._ready = not self._is_sqlite
        new = yield from self._dialect.enqueue(messages, channel)
        if len(messages) > 1:
            receipts = []
            for message in messages:
                receipts.append(Receipt(message.id, message.id not in new))
                new.discard(message.id)  # an id that comes twice was stored once
            return receipts
        if new:
            return [Receipt(messages[0].id)]
        return [(yield from self._existing(messages[0], channel))]

    def _existing(self, message: Message, channel: str | None) -> Steps[Receipt]:
        """Find the task that kept ``message`` from being stored; it may end at any moment."""
        tasks, payloads, finished = (
            self.names.table(name) for name in ("tasks", "payloads", "finished")
        )
        by_key = (
            f"select t.id, t.func, p.payload from {tasks} t join {payloads} p on p.id = t.id "
            "where t.queue = :queue and t.unique_key = :unique_key"
        )
        by_id = (
            "select p.id, coalesce(t.func, f.func), p.payload "
            f"from {payloads} p left join {tasks} t on t.id = p.id "
            f"left join {finished} f on f.id = p.id where p.id = :id"
        )
        for _ in range(ENQUEUE_ATTEMPTS):
            rows = yield by_id, {"id": self._dialect.key(message.id)}
            if not rows and message.unique_key is not None:
                rows = yield by_key, {"queue": message.queue, "unique_key": message.unique_key}
            for task_id, func, payload in rows:
                known = task_id if isinstance(task_id, UUID) else UUID(task_id)
                whole = unpack(payload, known, func or message.func)
                return Receipt(known, duplicate=True, payload=whole)
            if (yield from self._dialect.enqueue([message], channel)):
                return Receipt(message.id)
        raise StoreUnavailableError(
            f"The task with unique_key={message.unique_key!r} ended {ENQUEUE_ATTEMPTS} times while "
            "it was looked up. Try again."
        )

    # Claiming and settling

    def claim(
        self,
        queues: Sequence[str],
        limit: int,
        worker: UUID,
        settlements: Sequence[Settlement] = (),
        *,
        thorough: bool = False,
        begins: bool = False,
    ) -> list[Claim]:
        """Acknowledge and claim in one transaction; SQLite always looks everywhere.

        On connections of ours to PostgreSQL that is the first look; others after an empty one
        commit by themselves.
        """
        steps = self._dialect.claim(queues, limit, worker, thorough=thorough, begins=begins)
        if self._connections.can_pipeline and is_plain(settlements, worker):
            return self._claim_in_one_trip(steps, worker, settlements)
        with self._transaction() as connection:
            if settlements:
                self._settle(connection, settlements)
            return self._drive(connection, steps)

    def _claim_in_one_trip(
        self, steps: Steps[list[Claim]], worker: UUID, settlements: Sequence[Settlement]
    ) -> list[Claim]:
        with self._statement() as connection:
            together = pipelined(connection, self._dialect.planned_once)
            if not settlements:
                return drive(steps, alone(together))
            ends = self._settler.ends(worker, settlements)
            applied, claims = drive_both(ends, steps, together)
        self.report_stale(settlements, applied)
        return claims

    def claim_one(self, queue: str, task_id: str, worker: UUID) -> Claim | None:
        """Hold one waiting task, which begins at once."""
        with self._transaction() as connection:
            claims = self._drive(connection, self._dialect.claim_one(id_of(task_id), worker))
        return claims[0] if claims else None

    def begin(self, claims: Sequence[Claim]) -> set[UUID]:
        """Note that suspects start."""
        held: set[UUID] = set()
        with self._transaction() as connection:
            for worker in sorted({claim.worker for claim in claims}):
                batch = [claim for claim in claims if claim.worker == worker]
                held |= self._drive(connection, self._dialect.begin(worker, batch))
        return held

    def ack(self, settlements: Sequence[Settlement]) -> set[UUID]:
        """Persist outcomes."""
        if not settlements:
            return set()
        worker = settlements[0].claim.worker
        if not self._connections.can_pipeline or not is_plain(settlements, worker):
            with self._transaction() as connection:
                return self._settle(connection, settlements)
        with self._statement() as connection:
            applied = self._drive(connection, self._settler.ends(worker, settlements))
        self.report_stale(settlements, applied)
        return applied

    def _settle(self, connection: Connection, settlements: Sequence[Settlement]) -> set[UUID]:
        announce = partial(self._wakeups.announce_end, connection)
        applied = self._settler.settle(connection, settlements, announce)
        self.report_stale(settlements, applied)
        released = (one.claim for one in settlements if isinstance(one.outcome, Released))
        queues = {claim.queue for claim in released if claim.id in applied}
        self._wakeups.announce_due(connection, queues)
        return applied

    def complete(self, settlement: Settlement, connection: Any) -> bool:
        """Persist a success in the transaction of ``connection``.

        A repeatable read that began before somebody else wrote to the task, as a report of its
        progress does, is refused by PostgreSQL like any other write that comes too late.
        """
        joined, steps = joining.unscoped(connection), self._settler.complete(settlement)
        return joining.run(joined, steps, self._dialect.name, begun_only=True)

    async def acomplete(self, settlement: Settlement, connection: Any) -> bool:
        """Persist a success in the transaction of an asynchronous connection."""
        joined, steps = joining.unscoped(connection), self._settler.complete(settlement)
        return await joining.arun(joined, steps, self._dialect.name, begun_only=True)

    # Workers

    def heartbeat(self, worker: WorkerRecord, *, first: bool = False) -> bool:
        """Begin or renew the lease of a worker."""
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
        with self._transaction() as connection:
            found = connection.execute(self._statements.orphans, {"workers": [worker]})
            lost = [PutBack(row.id, row.lease, WAITING, None, 1) for row in found]
            lost = [row for row in lost if row.id not in held]
            if not lost:
                return []
            announce = partial(self._wakeups.announce_end, connection)
            return list(self._settler.put_back(connection, worker, lost, announce))

    def rescue(self, max_crashes: int) -> list[UUID]:
        """Take back the tasks of dead workers."""
        now = time.monotonic()
        thorough = now - self._last_stray_search >= STRAY_INTERVAL
        with self._transaction() as connection:
            rescued = rescuing.rescue(
                connection,
                self._statements,
                self._settler,
                max_crashes,
                partial(self._wakeups.announce_end, connection),
                thorough=thorough,
            )
        if thorough:
            self._last_stray_search = now
        return rescued

    def prune(self, keep_success: float, keep_failed: float) -> int:
        """Remove the history that is old enough, in batches."""
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
        self.open()
        return self._wakeups.listen(queues, timeout)

    def unlisten(self) -> None:
        """Close the connections that the calling thread listened on."""
        self._wakeups.unlisten()

    def due_in(self, queues: Sequence[str]) -> float | None:
        """Return the seconds until the next task that is not due yet."""
        names = {"queues": self._dialect.names(queues)}
        with self._statement() as connection:
            due, now = connection.execute(self._statements.next_due, names).one()
        return None if due is None else max(0.0, (due - now).total_seconds())

    # Looking and removing

    def len(self, queue: str) -> int:
        """Return how many tasks of a queue wait."""
        with self._statement() as connection:
            return int(connection.scalar(self._statements.length, {"queue": queue}) or 0)

    def drop_all(self, queue: str) -> None:
        """Remove the waiting tasks of a queue."""
        with self._transaction() as connection:
            ids = connection.scalars(self._statements.waiting_ids, {"queue": queue}).all()
            for start in range(0, len(ids), PRUNE_BATCH):
                batch = ids[start : start + PRUNE_BATCH]
                connection.execute(self._statements.delete_errors, {"ids": batch})
                connection.execute(self._statements.delete_payloads, {"ids": batch})
                connection.execute(self._statements.delete_tasks, {"ids": batch})

    def find(self, task_id: str) -> TaskRecord | None:
        """Return what is known about a task."""
        with self._statement() as connection:
            return self._records.find(connection, id_of(task_id))

    def ending(self, task_id: str, timeout: float) -> Ending | None:
        """Wait for the end of a task."""
        deadline = time.monotonic() + timeout
        ending = self._ending(task_id)
        if ending is not None or timeout <= 0:
            return ending
        listener = self._wakeups.end_listener()
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
            ending = self._records.ending(connection, key)
            if ending is None and not self._records.knows(connection, key):
                raise UnknownTaskError(f"No task {task_id} is known: never enqueued, or pruned.")
            return ending

    # Operating

    def cancel(self, queue: str, task_id: str) -> Payload | None:
        """End a waiting task as canceled, or mark a running one."""
        with self._transaction() as connection:
            return self._operations.cancel(connection, id_of(task_id))

    def canceled(self, worker: UUID, held: Collection[UUID]) -> set[UUID]:
        """Return which of these tasks are marked."""
        with self._statement() as connection:
            return self._drive(connection, self._dialect.canceled(worker, held))

    def report(self, worker: UUID, progress: Mapping[UUID, Progress]) -> None:
        """Keep what running tasks say of their progress."""
        with self._transaction() as connection:
            self._drive(connection, self._dialect.report(worker, progress))

    def retry(self, queue: str, task_id: str) -> bool:
        """Let a failed or canceled task wait again."""
        with self._transaction() as connection:
            return self._operations.retry(connection, id_of(task_id))

    def pause(self, queue: str) -> None:
        """Let nothing of a queue be claimed."""
        with self._transaction() as connection:
            self._operations.pause(connection, queue)

    def resume(self, queue: str) -> None:
        """End a pause."""
        with self._transaction() as connection:
            self._operations.resume(connection, queue)

    def is_paused(self, queue: str) -> bool:
        """Return whether a queue is paused."""
        with self._statement() as connection:
            return bool(connection.scalar(self._statements.is_paused, {"queue": queue}))


def _without_own(messages: Sequence[Message], receipts: Sequence[Receipt]) -> list[Receipt]:
    """Do not call a duplicate what an attempt before this one has stored."""
    return [
        Receipt(message.id) if _is_own(message, receipt) else receipt
        for message, receipt in zip(messages, receipts, strict=True)
    ]


def _is_own(message: Message, receipt: Receipt) -> bool:
    if receipt.payload is None:  # one of many
        return receipt.id == message.id and message.unique_key is None
    return receipt.id == message.id and receipt.payload == message.payload
