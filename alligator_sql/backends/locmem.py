"""Tasks in the memory of this process: for development and tests, and the reference.

It keeps every promise that the others keep, leases included, in the plainest way: one lock
around a dict. Gators with the same connection string share their tasks.
"""

import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import UUID

from ..clock import SYSTEM_CLOCK, Clock
from ..constants import (
    CANCELED,
    CLAIMABLE,
    DELAYED,
    FAILED,
    RETRYABLE,
    RETRYING,
    RUNNING,
    SUCCESS,
    WAITING,
)
from ..exceptions import UnknownTaskError
from ..ids import id_of
from ..messages import (
    Claim,
    Ending,
    Failure,
    Message,
    Moment,
    Payload,
    Progress,
    Receipt,
    TaskRecord,
    WorkerRecord,
)
from ..outcomes import (
    Canceled,
    Failed,
    Outcome,
    Released,
    Retry,
    Settlement,
    Snoozed,
    Succeeded,
)
from .base import CAN_JOIN, CANCELED_REASON, Backend, quarantined
from .capabilities import Capabilities


@dataclass(slots=True)
class _Entry:
    """A stored task, live or ended."""

    message: Message
    payload: Payload
    run_at: float
    expires_at: float | None
    created_at: float
    status: int
    attempts: int = 0
    crashes: int = 0
    lease: int = 0
    suspect: bool = False
    worker: UUID | None = None
    started_at: float | None = None
    finished_at: float | None = None
    canceled_at: float | None = None
    progress: Progress | None = None
    reason: str | None = None
    failure: Failure | None = None
    result: str | None = None
    problem: str | None = None

    @property
    def order(self) -> tuple[int, float, UUID]:
        return (-self.message.priority, self.run_at, self.message.id)


@dataclass(slots=True)
class _Worker:
    """A worker, and when its lease ends."""

    record: WorkerRecord
    ends_at: float


@dataclass(slots=True)
class _Store:
    """What all gators with one connection string share."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    entries: dict[UUID, _Entry] = field(default_factory=dict)
    workers: dict[UUID, _Worker] = field(default_factory=dict)
    paused: set[str] = field(default_factory=set)


_stores: dict[str, _Store] = {}
_stores_lock = threading.Lock()


class LocalMemoryBackend(Backend):
    """Tasks in a dict.

    Args:
        conn_string: ``locmem://``, or ``locmem://name`` for a store apart from the others.
        clock: Where the time comes from.
    """

    name: ClassVar[str] = "local memory"
    capabilities: ClassVar[Capabilities] = Capabilities(
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
    )

    def __init__(self, conn_string: str = "locmem://", *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        with _stores_lock:
            self._store = _stores.setdefault(conn_string, _Store())
        self._changed = self._store.changed

    def open(self) -> None:
        """Do nothing: memory is always there."""

    def close(self) -> None:
        """Do nothing: the tasks stay until the process ends."""

    def enqueue(self, messages: Sequence[Message], connection: Any = None) -> list[Receipt]:
        """Store messages."""
        if connection is not None:
            raise self.cannot("join a transaction", CAN_JOIN)
        with self._changed:
            receipts = [self._enqueue(message) for message in messages]
            self._changed.notify_all()
            return receipts

    def _enqueue(self, message: Message) -> Receipt:
        entries = self._store.entries
        existing = entries.get(message.id) or self._holder_of(message)
        if existing is not None:
            return Receipt(existing.message.id, duplicate=True, payload=existing.payload)
        now = self._clock.now()
        entries[message.id] = _Entry(
            message=message,
            payload=message.payload,
            run_at=max(now, _moment(message.due, now)),
            expires_at=None if message.expires is None else _moment(message.expires, now),
            created_at=now,
            status=WAITING if message.due.seconds == 0 else DELAYED,
        )
        return Receipt(message.id)

    def _holder_of(self, message: Message) -> _Entry | None:
        if message.unique_key is None:
            return None
        key = (message.queue, message.unique_key)
        for entry in self._store.entries.values():
            live = entry.finished_at is None
            if live and (entry.message.queue, entry.message.unique_key) == key:
                return entry
        return None

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
        """Acknowledge and claim under one lock; ``thorough`` or not, it looks everywhere."""
        with self._changed:
            self._settle(settlements)
            now = self._clock.now()
            if worker not in self._alive(now):
                return []
            claims: list[Claim] = []
            for queue in self._going(queues):
                due = [entry for entry in self._waiting(queue) if entry.run_at <= now]
                due.sort(key=lambda entry: entry.order)
                for entry in due[: limit - len(claims)]:
                    started_at = now if begins and not entry.suspect else None
                    claims.append(self._hold(entry, worker, now, started_at))
            return claims

    def claim_one(self, queue: str, task_id: str, worker: UUID) -> Claim | None:
        """Hold one waiting task, which begins at once."""
        with self._changed:
            entry = self._store.entries.get(id_of(task_id))
            if entry is None or entry.status not in CLAIMABLE:
                return None
            now = self._clock.now()
            entry.suspect = False
            return self._hold(entry, worker, now, now)

    def begin(self, claims: Sequence[Claim]) -> set[UUID]:
        """Note that suspects start."""
        with self._changed:
            held = [(claim.id, entry) for claim in claims if (entry := self._held(claim))]
            for _, entry in held:
                entry.started_at = self._clock.now()
                entry.suspect = False
            return {task_id for task_id, _ in held}

    def _going(self, queues: Sequence[str]) -> list[str]:
        return [queue for queue in queues if queue not in self._store.paused]

    def _waiting(self, queue: str) -> list[_Entry]:
        return [
            entry
            for entry in self._store.entries.values()
            if entry.message.queue == queue and entry.status in CLAIMABLE
        ]

    def _alive(self, now: float) -> set[UUID]:
        return {key for key, worker in self._store.workers.items() if worker.ends_at > now}

    def _hold(self, entry: _Entry, worker: UUID, now: float, started_at: float | None) -> Claim:
        entry.status = RUNNING
        entry.attempts += 1
        entry.lease += 1
        entry.worker = worker
        entry.started_at = started_at
        return Claim(
            id=entry.message.id,
            queue=entry.message.queue,
            func=entry.message.func,
            payload=entry.payload,
            lease=entry.lease,
            worker=worker,
            attempts=entry.attempts,
            crashes=entry.crashes,
            age=now - entry.created_at,
            expires_in=None if entry.expires_at is None else entry.expires_at - now,
            suspect=entry.suspect,
        )

    def ack(self, settlements: Sequence[Settlement]) -> set[UUID]:
        """Persist outcomes."""
        with self._changed:
            return self._settle(settlements)

    def _settle(self, settlements: Sequence[Settlement]) -> set[UUID]:
        applied: set[UUID] = set()
        for settlement in settlements:
            entry = self._held(settlement.claim)
            if entry is not None:
                if settlement.seconds is not None:
                    entry.started_at = self._clock.now() - settlement.seconds
                self._apply(entry, settlement.outcome)
                applied.add(settlement.claim.id)
        if applied:
            self._changed.notify_all()
        self.report_stale(settlements, applied)
        return applied

    def _held(self, claim: Claim) -> _Entry | None:
        """Return the task of ``claim`` if its fence holds."""
        entry = self._store.entries.get(claim.id)
        fence = (RUNNING, claim.lease, claim.worker)
        if entry is not None and (entry.status, entry.lease, entry.worker) == fence:
            return entry
        return None

    def _apply(self, entry: _Entry, outcome: Outcome) -> None:
        match outcome:
            case Succeeded(result=result, problem=problem):
                entry.result, entry.problem = result, problem
                self._end(entry, SUCCESS)
            case Failed(failure=failure, started=started):
                entry.attempts -= not started
                entry.failure = failure
                self._end(entry, FAILED, failure.reason)
            case Canceled(failure=failure):
                entry.failure = failure
                self._end(entry, CANCELED, CANCELED_REASON)
            case Retry(delay=delay, failure=failure, payload=payload):
                entry.failure, entry.payload = failure, payload
                entry.suspect = False
                self._put_back(entry, RETRYING, delay)
            case Snoozed(delay=delay):
                entry.suspect = False
                self._release(entry, delay)
            case Released():
                self._release(entry)

    def _end(self, entry: _Entry, status: int, reason: str | None = None) -> None:
        entry.status = status
        entry.reason = reason
        entry.finished_at = self._clock.now()
        entry.canceled_at = entry.progress = None

    def _release(self, entry: _Entry, delay: float | None = None) -> None:
        entry.attempts -= 1
        self._put_back(entry, WAITING, delay)

    def _put_back(self, entry: _Entry, status: int, delay: float | None) -> None:
        """Let a task wait again, or end it when it was canceled while it ran."""
        if entry.canceled_at is not None:
            self._end(entry, CANCELED, CANCELED_REASON)
            return
        entry.status = status
        entry.worker = entry.started_at = entry.progress = None
        if delay is not None:
            entry.run_at = self._clock.now() + delay

    def heartbeat(self, worker: WorkerRecord, *, first: bool = False) -> bool:
        """Begin or renew the lease of a worker."""
        with self._changed:
            now = self._clock.now()
            alive = first or worker.id in self._alive(now)
            if alive:
                self._store.workers[worker.id] = _Worker(worker, now + worker.ttl)
            return alive

    def leave(self, worker: UUID, *, holds: bool) -> None:
        """End a lease."""
        with self._changed:
            if not holds:
                self._store.workers.pop(worker, None)
            elif worker in self._store.workers:
                self._store.workers[worker].ends_at = self._clock.now()

    def reconcile(self, worker: UUID, held: Collection[UUID]) -> list[UUID]:
        """Hand back what a worker does not know that it holds."""
        with self._changed:
            lost = [
                entry
                for entry in self._store.entries.values()
                if entry.status == RUNNING
                and entry.worker == worker
                and entry.message.id not in held
            ]
            for entry in lost:
                self._release(entry)
            return [entry.message.id for entry in lost]

    def rescue(self, max_crashes: int) -> list[UUID]:
        """Take back the tasks of dead workers."""
        with self._changed:
            alive = self._alive(self._clock.now())
            rescued = [
                (entry, worker)
                for entry in self._store.entries.values()
                if entry.status == RUNNING and (worker := entry.worker) and worker not in alive
            ]
            for entry, worker in rescued:
                self._take_back(entry, worker, max_crashes)
            self._store.workers = {worker: self._store.workers[worker] for worker in alive}
            if rescued:
                self._changed.notify_all()
            return [entry.message.id for entry, _ in rescued]

    def _take_back(self, entry: _Entry, worker: UUID, max_crashes: int) -> None:
        if entry.started_at is None:
            entry.suspect = True
            self._release(entry)
            return
        entry.crashes += 1
        if entry.crashes < max_crashes or entry.canceled_at is not None:
            self._put_back(entry, WAITING, None)
            return
        known = self._store.workers.get(worker)
        host, pid = (known.record.host, known.record.pid) if known else (None, None)
        entry.failure = quarantined(entry.crashes, worker, host, pid)
        self._end(entry, FAILED, entry.failure.reason)

    def prune(self, keep_success: float, keep_failed: float) -> int:
        """Remove the history that is old enough."""
        with self._changed:
            now = self._clock.now()
            old = [
                task_id
                for task_id, entry in self._store.entries.items()
                if entry.finished_at is not None
                and entry.finished_at
                < now - (keep_success if entry.status == SUCCESS else keep_failed)
            ]
            for task_id in old:
                del self._store.entries[task_id]
            return len(old)

    def listen(self, queues: Sequence[str], timeout: float) -> bool:
        """Wait for any change."""
        with self._changed:
            return self._changed.wait(timeout)

    def due_in(self, queues: Sequence[str]) -> float | None:
        """Return the seconds until the next task that is not due yet."""
        with self._changed:
            now = self._clock.now()
            waits = [
                entry.run_at - now
                for queue in self._going(queues)
                for entry in self._waiting(queue)
                if entry.run_at > now
            ]
            return min(waits, default=None)

    def len(self, queue: str) -> int:
        """Return how many tasks of a queue wait."""
        with self._changed:
            return len(self._waiting(queue))

    def drop_all(self, queue: str) -> None:
        """Remove the waiting tasks of a queue."""
        with self._changed:
            for entry in self._waiting(queue):
                del self._store.entries[entry.message.id]

    def cancel(self, queue: str, task_id: str) -> Payload | None:
        """End a waiting task as canceled, or mark a running one."""
        with self._changed:
            entry = self._store.entries.get(id_of(task_id))
            if entry is None or entry.status not in (*CLAIMABLE, RUNNING):
                return None
            if entry.status == RUNNING:
                entry.canceled_at = entry.canceled_at or self._clock.now()
            else:
                self._end(entry, CANCELED, CANCELED_REASON)
            self._changed.notify_all()
            return entry.payload

    def canceled(self, worker: UUID, held: Collection[UUID]) -> set[UUID]:
        """Return which of these tasks are marked."""
        with self._changed:
            return {
                task_id
                for task_id in held
                if (entry := self._run_by(worker, task_id)) and entry.canceled_at is not None
            }

    def report(self, worker: UUID, progress: Mapping[UUID, Progress]) -> None:
        """Keep what running tasks say of their progress."""
        with self._changed:
            for task_id, said in progress.items():
                entry = self._run_by(worker, task_id)
                if entry is not None:
                    entry.progress = said

    def _run_by(self, worker: UUID, task_id: UUID) -> _Entry | None:
        entry = self._store.entries.get(task_id)
        runs = entry is not None and (entry.status, entry.worker) == (RUNNING, worker)
        return entry if runs else None

    def retry(self, queue: str, task_id: str) -> bool:
        """Let a failed or canceled task wait again."""
        with self._changed:
            entry = self._store.entries.get(id_of(task_id))
            if entry is None or entry.status not in RETRYABLE or self._holder_of(entry.message):
                return False
            self._put_back(entry, WAITING, 0.0)
            entry.suspect = False
            entry.attempts = entry.crashes = 0
            entry.expires_at = entry.finished_at = entry.reason = None
            self._changed.notify_all()
            return True

    def pause(self, queue: str) -> None:
        """Let nothing of a queue be claimed."""
        with self._changed:
            self._store.paused.add(queue)

    def resume(self, queue: str) -> None:
        """End a pause."""
        with self._changed:
            self._store.paused.discard(queue)
            self._changed.notify_all()

    def is_paused(self, queue: str) -> bool:
        """Return whether a queue is paused."""
        with self._changed:
            return queue in self._store.paused

    def find(self, task_id: str) -> TaskRecord | None:
        """Return what is known about a task."""
        with self._changed:
            entry = self._store.entries.get(id_of(task_id))
            return None if entry is None else _record(entry)

    def ending(self, task_id: str, timeout: float) -> Ending | None:
        """Wait for the end of a task."""

        def ended() -> bool:
            entry = self._store.entries.get(id_of(task_id))
            return entry is None or entry.finished_at is not None

        with self._changed:
            if not self._changed.wait_for(ended, timeout):
                return None
            entry = self._store.entries.get(id_of(task_id))
            if entry is None:
                raise UnknownTaskError(f"No task {task_id} is known: never enqueued, or removed.")
            failure = entry.failure and replace(entry.failure, reason=entry.reason)
            return Ending(entry.status, entry.result, entry.problem, failure)


def _moment(moment: Moment, now: float) -> float:
    return moment.seconds if moment.absolute else now + moment.seconds


def _datetime(timestamp: float | None) -> datetime | None:
    return None if timestamp is None else datetime.fromtimestamp(timestamp, UTC)


def _record(entry: _Entry) -> TaskRecord:
    failure = entry.failure
    return TaskRecord(
        id=entry.message.id,
        queue=entry.message.queue,
        func=entry.message.func,
        status=entry.status,
        priority=entry.message.priority,
        attempts=entry.attempts,
        crashes=entry.crashes,
        created_at=datetime.fromtimestamp(entry.created_at, UTC),
        run_at=datetime.fromtimestamp(entry.run_at, UTC),
        started_at=_datetime(entry.started_at),
        finished_at=_datetime(entry.finished_at),
        worker_id=entry.worker,
        unique_key=entry.message.unique_key,
        tags=entry.message.tags,
        reason=entry.reason,
        error=entry.reason if failure is None else f"{failure.kind}: {failure.message}",
        progress=entry.progress,
    )
