"""The records that pass between a gator, a backend and a worker."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from .constants import STATUS_NAMES
from .ids import shown
from .records import record

Payload = str | bytes
"""A serialized task. Backends keep it as it is and never look inside."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A point in time: seconds from the store's own now, or a Unix timestamp."""

    seconds: float
    absolute: bool = False


NOW = Moment(0.0)


@record
class Message:
    """One task as a producer hands it to a backend.

    ``id`` is made from ``task_id``, the id that users see, which may be any text.
    """

    id: UUID
    task_id: str
    queue: str
    func: str
    payload: Payload
    priority: int = 0
    due: Moment = NOW
    expires: Moment | None = None
    unique_key: str | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Series:
    """New tasks that differ in nothing but their ids and payloads.

    Attributes:
        model: A message with all that they have in common. Its ids and its payload are nobody's.
        ids: The bytes of their ids, which were just made: no store knows them.
        payloads: Their payloads, in the same order; JSON in ASCII.
    """

    model: Message
    ids: Sequence[bytes]
    payloads: Sequence[str]

    def __len__(self) -> int:
        return len(self.ids)

    def messages(self) -> list[Message]:
        """Return the message of each task."""
        model = self.model
        shared = (model.priority, model.due, model.expires, model.unique_key, model.tags)
        return [
            Message(UUID(bytes=task_id), shown(task_id), model.queue, model.func, payload, *shared)
            for task_id, payload in zip(self.ids, self.payloads, strict=True)
        ]


@record
class Receipt:
    """What became of a message.

    ``duplicate`` says that nothing was stored, because a task with this id is known or a
    live one has this unique key; ``id`` and ``payload`` are then those of the existing task.
    ``task_id`` is the id that users see, where the store has chosen one of its own.
    """

    id: UUID
    duplicate: bool = False
    payload: Payload | None = None
    task_id: str | None = None


def number_new(receipts: Iterable[Receipt]) -> int:
    """Return how many messages were stored."""
    return sum(not receipt.duplicate for receipt in receipts)


@record
class Claim:
    """A task that a worker holds. ``(id, lease, worker)`` is the fence of its outcome.

    Attributes:
        lease: Grows by one with each claim of this task and never falls.
        attempts: Started attempts, this one included.
        crashes: How often a worker died while it held this task.
        age: Seconds since the task was enqueued.
        expires_in: Seconds after ``received`` until the task must not be started, or None.
        payload: None when the store has lost it.
        received: When this process got the claim, on its monotonic clock.
        suspect: A worker died while it held this task, and nobody knows whether the task had
            begun. It must be announced by ``Backend.begin`` before it is started.
    """

    id: UUID
    queue: str
    func: str
    payload: Payload | None
    lease: int
    worker: UUID
    attempts: int
    crashes: int
    age: float
    expires_in: float | None = None
    received: float = field(default_factory=time.monotonic)
    suspect: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a running task has come, in its own words.

    ``percent`` goes from 0 to 100; ``message`` has at most 255 characters.
    """

    percent: float
    message: str = ""


@dataclass(frozen=True, slots=True)
class WorkerRecord:
    """One incarnation of a worker process; a restarted process is another one.

    ``queues`` are those that it claims from; a store may hold a lease for each of them.
    ``ttl`` is the length of its lease in seconds, counted from each heartbeat.
    """

    id: UUID
    host: str
    pid: int
    queues: tuple[str, ...]
    ttl: float


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt failed, as text that every store can hold.

    ``reason`` is a short word for ends that no exception explains: ``"expired"``,
    ``"quarantined"``, ``"unroutable"``, ``"discarded"``, ``"timeout"``, ``"canceled"``.
    """

    kind: str
    message: str
    traceback: str = ""
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """What the store knows about a task at the moment. All times are aware, in UTC."""

    id: UUID
    queue: str
    func: str
    status: int
    priority: int
    attempts: int
    crashes: int
    created_at: datetime
    run_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    worker_id: UUID | None = None
    unique_key: str | None = None
    tags: tuple[str, ...] = ()
    reason: str | None = None
    error: str | None = None
    progress: Progress | None = None

    @property
    def status_name(self) -> str:
        """The word for ``status``, such as ``"waiting"``."""
        return STATUS_NAMES[self.status]


@dataclass(frozen=True, slots=True)
class Ending:
    """How a task ended, for those who wait for its result.

    ``value`` is the JSON text of a kept result. ``problem`` says why a result that was to
    be kept could not be stored.
    """

    status: int
    value: str | None = None
    problem: str | None = None
    failure: Failure | None = None
