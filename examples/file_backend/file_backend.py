"""Tasks in one JSON file, for ``Gator("jsonfile:///path/to/tasks.json")``.

Every call locks the file, reads all of it, and writes all of it when something has changed.
That is slow with thousands of tasks, and right with several processes that crash.
"""

import base64
import fcntl
import json
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit
from uuid import UUID

from alligator_sql.backends import Backend, Capabilities
from alligator_sql.clock import SYSTEM_CLOCK, Clock
from alligator_sql.messages import Claim, Message, Payload, Receipt, WorkerRecord
from alligator_sql.outcomes import (
    Canceled,
    Failed,
    Outcome,
    Released,
    Retry,
    Settlement,
    Snoozed,
    Succeeded,
)


@dataclass
class StoredTask:
    """A task that has not ended. The file forgets those that have."""

    id: str
    queue: str
    func: str
    payload: str
    created_at: float
    due_at: float
    worker: str | None = None
    lease: int = 0
    attempts: int = 0
    crashes: int = 0
    begun: bool = False
    suspect: bool = False


@dataclass
class Contents:
    """What the file holds: the tasks by their ids, and when the lease of each worker ends."""

    tasks: dict[str, StoredTask] = field(default_factory=dict)
    workers: dict[str, float] = field(default_factory=dict)

    def waiting(self, queue: str) -> list[StoredTask]:
        """Return the tasks of ``queue`` that nobody holds, the next one first."""
        waiting = (t for t in self.tasks.values() if t.queue == queue and t.worker is None)
        return sorted(waiting, key=lambda task: (task.due_at, task.id))

    def held(self, claim: Claim) -> StoredTask | None:
        """Return the task of ``claim``, if that is still the newest and nobody took it back."""
        task = self.tasks.get(str(claim.id))
        if task and (task.worker, task.lease) == (str(claim.worker), claim.lease):
            return task
        return None


class FileBackend(Backend):
    """Tasks in a JSON file.

    Args:
        conn_string: ``jsonfile:///absolute/path.json``.
        clock: Where the time comes from; tests move it.
    """

    name: ClassVar[str] = "JSON file"
    capabilities: ClassVar[Capabilities] = Capabilities(
        lease=True, fence=True, order=True, delay=True, cross_process=True
    )

    def __init__(self, conn_string: str, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._path = Path(unquote(urlsplit(conn_string).path))
        self._clock = clock

    # The file

    def open(self) -> None:
        """Make sure that the folder is there."""
        self._path.parent.mkdir(parents=True, exist_ok=True)

    def close(self) -> None:
        """Do nothing: no call leaves a file open."""

    @contextmanager
    def _locked(self) -> Iterator[Contents]:
        """Give the contents to the block, which nobody else reads or changes meanwhile."""
        self.open()
        with self._path.with_suffix(".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            before = self._path.read_text() if self._path.exists() else "{}"
            read = json.loads(before)
            tasks = {key: StoredTask(**task) for key, task in read.get("tasks", {}).items()}
            contents = Contents(tasks, read.get("workers", {}))
            yield contents
            after = json.dumps(asdict(contents))
            if after != before:
                self._replace(after)

    def _replace(self, text: str) -> None:
        """Write the file anew, so that a crash leaves either the old one or the new one."""
        new = self._path.with_suffix(".new")
        with new.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    # Enqueueing

    def enqueue(self, messages: Sequence[Message], connection: Any = None) -> list[Receipt]:
        """Store messages: all of them, for the file is written once."""
        if connection is not None:
            raise self.cannot("join a transaction")
        with self._locked() as contents:
            return [self._enqueue(contents, message) for message in messages]

    def _enqueue(self, contents: Contents, message: Message) -> Receipt:
        known = contents.tasks.get(str(message.id))
        if known is not None:
            return Receipt(message.id, duplicate=True, payload=_decoded(known.payload))
        now = self._clock.now()
        contents.tasks[str(message.id)] = StoredTask(
            id=str(message.id),
            queue=message.queue,
            func=message.func,
            payload=_encoded(message.payload),
            created_at=now,
            due_at=max(now, message.due.seconds + (0 if message.due.absolute else now)),
        )
        return Receipt(message.id)

    # Claiming and acknowledging

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
        """Acknowledge, then hold the next due tasks for a worker whose lease goes on."""
        with self._locked() as contents:
            self._settle(contents, settlements)
            now = self._clock.now()
            if contents.workers.get(str(worker), now) <= now:
                return []
            due = [t for queue in queues for t in contents.waiting(queue) if t.due_at <= now]
            return [self._hold(task, worker, now, begins) for task in due[:limit]]

    def _hold(self, task: StoredTask, worker: UUID, now: float, begins: bool) -> Claim:
        task.worker = str(worker)
        task.begun = begins and not task.suspect
        task.lease += 1
        task.attempts += 1
        return Claim(
            id=UUID(task.id),
            queue=task.queue,
            func=task.func,
            payload=_decoded(task.payload),
            lease=task.lease,
            worker=worker,
            attempts=task.attempts,
            crashes=task.crashes,
            age=now - task.created_at,
            suspect=task.suspect,
        )

    def ack(self, settlements: Sequence[Settlement]) -> set[UUID]:
        """Persist outcomes."""
        with self._locked() as contents:
            return self._settle(contents, settlements)

    def _settle(self, contents: Contents, settlements: Sequence[Settlement]) -> set[UUID]:
        applied = set()
        for claim, outcome in ((one.claim, one.outcome) for one in settlements):
            task = contents.held(claim)
            if task is not None:
                self._apply(contents, task, outcome)
                applied.add(claim.id)
        self.report_stale(settlements, applied)
        return applied

    def _apply(self, contents: Contents, task: StoredTask, outcome: Outcome) -> None:
        if isinstance(outcome, Succeeded | Failed | Canceled):
            del contents.tasks[task.id]
            return
        task.worker = None
        task.suspect = task.suspect and isinstance(outcome, Released)
        if isinstance(outcome, Retry | Snoozed):
            task.due_at = self._clock.now() + outcome.delay
        if isinstance(outcome, Retry):
            task.payload = _encoded(outcome.payload)
        else:
            task.attempts -= 1

    def begin(self, claims: Sequence[Claim]) -> set[UUID]:
        """Note that suspects start, and return which may."""
        with self._locked() as contents:
            held = [task for claim in claims if (task := contents.held(claim))]
            for task in held:
                task.begun, task.suspect = True, False
            return {UUID(task.id) for task in held}

    # Leases

    def heartbeat(self, worker: WorkerRecord, *, first: bool = False) -> bool:
        """Begin or renew a lease, but never revive one that has ended."""
        with self._locked() as contents:
            now = self._clock.now()
            alive = first or contents.workers.get(str(worker.id), now) > now
            if alive:
                contents.workers[str(worker.id)] = now + worker.ttl
            return alive

    def leave(self, worker: UUID, *, holds: bool) -> None:
        """End a lease; what the worker still holds is found by the next rescue."""
        with self._locked() as contents:
            contents.workers.pop(str(worker), None)

    def rescue(self, max_crashes: int) -> list[UUID]:
        """Take back the tasks of dead workers; drop those that have killed too many."""
        with self._locked() as contents:
            now = self._clock.now()
            contents.workers = {id_: end for id_, end in contents.workers.items() if end > now}
            lost = [
                task
                for task in contents.tasks.values()
                if task.worker is not None and task.worker not in contents.workers
            ]
            for task in lost:
                task.worker = None
                if task.begun:
                    task.crashes += 1
                else:
                    task.attempts -= 1
                    task.suspect = True
                if task.crashes >= max_crashes:
                    del contents.tasks[task.id]
            return [UUID(task.id) for task in lost]

    def reconcile(self, worker: UUID, held: Collection[UUID]) -> list[UUID]:
        """Hand back what a worker holds without knowing it."""
        with self._locked() as contents:
            mine = (task for task in contents.tasks.values() if task.worker == str(worker))
            lost = [task for task in mine if UUID(task.id) not in held]
            for task in lost:
                task.worker = None
                task.attempts -= 1
            return [UUID(task.id) for task in lost]

    # Questions

    def listen(self, queues: Sequence[str], timeout: float) -> bool:
        """Refuse, because ``wake`` is not declared: workers poll."""
        raise self.cannot("wake a worker")

    def due_in(self, queues: Sequence[str]) -> float | None:
        """Return the seconds until the next task that is not due yet."""
        with self._locked() as contents:
            now = self._clock.now()
            waits = (task.due_at - now for queue in queues for task in contents.waiting(queue))
            return min((seconds for seconds in waits if seconds > 0), default=None)

    def len(self, queue: str) -> int:
        """Return how many tasks wait."""
        with self._locked() as contents:
            return len(contents.waiting(queue))

    def drop_all(self, queue: str) -> None:
        """Remove the waiting tasks."""
        with self._locked() as contents:
            for task in contents.waiting(queue):
                del contents.tasks[task.id]


def _encoded(payload: Payload) -> str:
    """Return JSON text for any payload: a string, or bytes in a list."""
    if isinstance(payload, bytes):
        return json.dumps([base64.b64encode(payload).decode()])
    return json.dumps(payload)


def _decoded(text: str) -> Payload:
    value = json.loads(text)
    return base64.b64decode(value[0]) if isinstance(value, list) else str(value)
