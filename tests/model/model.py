"""What a backend with leases has to do, as plainly as it can be said.

One dict, no locks, no store. Whatever a real backend answers is compared with this.

The life of a task::

    waiting, delayed, retrying  --claim-->  running  --outcome-->  success, failed, canceled
              ^                                |  |                       |
              +-- retry, snooze, release ------+  +-- rescue ...          |
              +-- operator's retry ---------------------------------------+
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from uuid import UUID

from alligator_sql.constants import (
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
from alligator_sql.messages import Claim, Message, Payload, Progress
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
class Task:
    """One task that the store knows."""

    message: Message
    payload: Payload
    status: int
    run_at: float
    created_at: float
    expires_at: float | None
    attempts: int = 0
    crashes: int = 0
    lease: int = 0
    worker: UUID | None = None
    has_begun: bool = False
    is_suspect: bool = False
    is_unwanted: bool = False
    progress: Progress | None = None
    finished_at: float | None = None
    reason: str | None = None

    @property
    def is_live(self) -> bool:
        return self.finished_at is None

    @property
    def is_waiting(self) -> bool:
        return self.status in CLAIMABLE


@dataclass
class Model:
    """A store of tasks."""

    now: float = 0.0
    tasks: dict[UUID, Task] = field(default_factory=dict)
    leases: dict[UUID, float] = field(default_factory=dict)
    paused: set[str] = field(default_factory=set)

    # Enqueueing

    def enqueue(self, message: Message) -> Task | None:
        """Store a message; or return the task because of which it is not stored."""
        existing = self.tasks.get(message.id) or self.holder(message)
        if existing is None:
            self.tasks[message.id] = Task(
                message,
                message.payload,
                DELAYED if message.due.seconds else WAITING,
                run_at=self.now + message.due.seconds,
                created_at=self.now,
                expires_at=self.now + message.expires.seconds if message.expires else None,
            )
        return existing

    def holder(self, message: Message) -> Task | None:
        """Return the live task that has the unique key of ``message``."""
        key = (message.queue, message.unique_key)
        for task in self.tasks.values():
            if task.is_live and (task.message.queue, task.message.unique_key) == key:
                return task if message.unique_key is not None else None
        return None

    # Claiming

    def is_alive(self, worker: UUID) -> bool:
        return self.leases.get(worker, self.now) > self.now

    def due(self, queue: str, worker: UUID) -> list[Task]:
        """Return what ``worker`` may claim now."""
        if queue in self.paused or not self.is_alive(worker):
            return []
        return [task for task in self.waiting(queue) if task.run_at <= self.now]

    def waiting(self, queue: str) -> list[Task]:
        return [t for t in self.tasks.values() if t.is_waiting and t.message.queue == queue]

    def due_in(self, queue: str) -> float | None:
        waits = [t.run_at - self.now for t in self.waiting(queue) if t.run_at > self.now]
        return None if queue in self.paused else min(waits, default=None)

    def hold(self, task: Task, worker: UUID, *, begins: bool) -> None:
        task.status, task.worker = RUNNING, worker
        task.attempts += 1
        task.lease += 1
        task.has_begun = begins and not task.is_suspect

    def hold_one(self, task: Task, worker: UUID) -> None:
        """Hold a task for somebody who named it, and starts it at once."""
        task.is_suspect = False
        self.hold(task, worker, begins=True)

    def holds(self, claim: Claim) -> Task | None:
        """Return the task of ``claim`` if its fence holds."""
        task = self.tasks.get(claim.id)
        fence = (RUNNING, claim.lease, claim.worker)
        return task if task and (task.status, task.lease, task.worker) == fence else None

    def held(self, worker: UUID) -> list[Task]:
        return [t for t in self.tasks.values() if t.status == RUNNING and t.worker == worker]

    def begin(self, claims: Iterable[Claim]) -> set[UUID]:
        held = [task for claim in claims if (task := self.holds(claim))]
        for task in held:
            task.has_begun, task.is_suspect = True, False
        return {task.message.id for task in held}

    # Outcomes

    def settle(self, settlement: Settlement) -> bool:
        """Apply an outcome and return whether its fence held."""
        task = self.holds(settlement.claim)
        if task is not None:
            self._apply(task, settlement.outcome, settlement.seconds)
        return task is not None

    def may_complete(self, claim: Claim) -> bool:
        """Whether an outcome counts in a transaction of the caller: not without a lease."""
        return self.holds(claim) is not None and self.is_alive(claim.worker)

    def report(self, worker: UUID, task_id: UUID, progress: Progress) -> None:
        for task in self.held(worker):
            if task.message.id == task_id:
                task.progress = progress

    def _apply(self, task: Task, outcome: Outcome, seconds: float | None) -> None:
        task.has_begun = task.has_begun or seconds is not None
        match outcome:
            case Succeeded():
                self._end(task, SUCCESS)
            case Canceled():
                self._end(task, CANCELED, "canceled")
            case Failed(failure=failure, started=started):
                task.attempts -= not started
                self._end(task, FAILED, failure.reason)
            case Retry(delay=delay, payload=payload):
                task.payload = payload
                self._put_back(task, RETRYING, delay)
            case Snoozed(delay=delay):
                task.attempts -= 1
                self._put_back(task, WAITING, delay)
            case Released():
                task.attempts -= 1
                self._put_back(task, WAITING, None, is_suspect=task.is_suspect)

    def _end(self, task: Task, status: int, reason: str | None = None) -> None:
        task.status, task.reason, task.finished_at = status, reason, self.now
        task.is_suspect = task.is_unwanted = False
        task.progress = None

    def _put_back(
        self, task: Task, status: int, delay: float | None, *, is_suspect: bool = False
    ) -> None:
        """Let a task wait again, unless somebody has canceled it meanwhile."""
        if task.is_unwanted:
            self._end(task, CANCELED, "canceled")
            return
        task.status, task.worker = status, None
        task.has_begun, task.is_suspect = False, is_suspect
        task.progress = None
        if delay is not None:
            task.run_at = self.now + delay

    # Workers

    def join(self, worker: UUID, ttl: float) -> None:
        self.leases[worker] = self.now + ttl

    def heartbeat(self, worker: UUID, ttl: float) -> bool:
        alive = self.is_alive(worker)
        if alive:
            self.leases[worker] = self.now + ttl
        return alive

    def leave(self, worker: UUID) -> None:
        self.leases.pop(worker, None)

    def reconcile(self, worker: UUID, held: Collection[UUID]) -> set[UUID]:
        """Hand back what ``worker`` does not know of."""
        lost = [task for task in self.held(worker) if task.message.id not in held]
        for task in lost:
            self._apply(task, Released(), None)
        return {task.message.id for task in lost}

    def rescue(self, max_crashes: int) -> set[UUID]:
        """Take back what dead workers held."""
        lost = [
            task
            for task in self.tasks.values()
            if task.status == RUNNING and task.worker and not self.is_alive(task.worker)
        ]
        for task in lost:
            self._rescue(task, max_crashes)
        return {task.message.id for task in lost}

    def _rescue(self, task: Task, max_crashes: int) -> None:
        if not task.has_begun:
            task.attempts -= 1
            self._put_back(task, WAITING, None, is_suspect=True)
            return
        task.crashes += 1
        if task.crashes >= max_crashes and not task.is_unwanted:
            self._end(task, FAILED, "quarantined")
        else:
            self._put_back(task, WAITING, None)

    # Operating

    def cancel(self, task_id: UUID) -> Payload | None:
        """End what waits; mark what runs."""
        task = self.tasks.get(task_id)
        if task is None or not task.is_live:
            return None
        if task.is_waiting:
            self._end(task, CANCELED, "canceled")
        else:
            task.is_unwanted = True
        return task.payload

    def canceled(self, worker: UUID, held: Collection[UUID]) -> set[UUID]:
        return {t.message.id for t in self.held(worker) if t.is_unwanted} & set(held)

    def retry(self, task_id: UUID) -> bool:
        task = self.tasks.get(task_id)
        if task is None or task.status not in RETRYABLE or self.holder(task.message):
            return False
        task.attempts = task.crashes = 0
        task.expires_at = task.finished_at = task.reason = None
        self._put_back(task, WAITING, 0.0)
        return True

    def drop_all(self, queue: str) -> None:
        for task in self.waiting(queue):
            del self.tasks[task.message.id]

    def prune(self, keep: Mapping[int, float]) -> int:
        """Forget what ended longer ago than ``keep`` says for its status."""
        old = [
            task_id
            for task_id, task in self.tasks.items()
            if task.finished_at is not None and task.finished_at < self.now - keep[task.status]
        ]
        for task_id in old:
            del self.tasks[task_id]
        return len(old)
