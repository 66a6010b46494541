"""What differs between PostgreSQL and SQLite: the statements of the hot path.

``postgresql.py`` and ``sqlite.py`` hold them, everything else is in ``statements.py``, once
for both. The methods of a dialect are *steps*: they yield a statement with its parameters
and are sent its rows, so that one definition runs on a SQLAlchemy connection, on a raw
driver connection of the caller, and on asynchronous ones.
"""

import json
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar
from uuid import UUID

from ...constants import CLAIMABLE, DELAYED, WAITING
from ...messages import Claim, Message, Moment, Progress
from .payloads import unpack

T = TypeVar("T")
Parameters = dict[str, Any]
Statement = tuple[str, Parameters]
Rows = Sequence[Sequence[Any]]
Execute = Callable[[str, Parameters], Rows]
ExecuteTogether = Callable[[Sequence[Statement]], Sequence[Rows]]
"""Executes statements that do not depend on each other in one transaction."""
Steps = Generator[Statement, Rows, T]
"""Yields statements, is sent their rows, returns what came of it."""

Place = tuple[str, int]
"""A queue, and a priority in it: where claims look for tasks."""

CLAIMABLE_SQL = ", ".join(str(status) for status in CLAIMABLE)


class Ended(NamedTuple):
    """One task that moves to the finished table.

    It ended ``age`` seconds ago and had run for ``seconds``; None counts from its claim.
    """

    id: UUID
    lease: int
    status: int
    reason: str | None
    refund: int
    age: float = 0.0
    seconds: float | None = None


class PutBack(NamedTuple):
    """One task that becomes claimable again, or ends if it was canceled while it ran.

    ``delay`` counts from now; None leaves the due time as it was. ``suspect`` says whether it
    is one from now on; None leaves that as it was. The rest is as in :class:`Ended`.
    """

    id: UUID
    lease: int
    status: int
    delay: float | None
    refund: int
    suspect: bool | None = None
    age: float = 0.0
    seconds: float | None = None


class Dialect(Protocol):
    """What :class:`~.backend.SQLBackend` asks of a database."""

    name: ClassVar[str]
    now: ClassVar[str]
    planned_once: frozenset[str]
    """Statements whose plan may be kept, because there is only one way to each row."""

    def later(self, parameter: str) -> str:
        """Return the SQL for now plus the seconds in ``parameter``."""

    def each(self, parameter: str) -> str:
        """Return the SQL for a table ``q`` with a ``value`` for each of some :meth:`names`."""

    def names(self, names: Sequence[str]) -> str:
        """Return ``names`` as one parameter."""

    def enqueue(self, messages: Sequence[Message], channel: str | None) -> Steps[set[UUID]]:
        """Store messages and return the ids that are new; wake ``channel`` at the commit."""

    def claim(
        self,
        queues: Sequence[str],
        limit: int,
        worker: UUID,
        *,
        thorough: bool = False,
        begins: bool = False,
    ) -> Steps[list[Claim]]:
        """Hold up to ``limit`` due tasks, of the first queues first.

        ``thorough`` finds some if there are any. ``begins`` says that they start now, but for
        suspects.
        """

    def claim_one(self, task_id: UUID, worker: UUID) -> Steps[list[Claim]]:
        """Hold one waiting task, due or not; it starts now."""

    def begin(self, worker: UUID, claims: Sequence[Claim]) -> Steps[set[UUID]]:
        """Note that claims of ``worker`` start now; return which are still held."""

    def end(self, worker: UUID, rows: Sequence[Ended]) -> Steps[set[UUID]]:
        """Move tasks that ``worker`` holds to the finished table; return which."""

    def complete(self, worker: UUID, row: Ended) -> Steps[bool]:
        """Do what :meth:`end` does for one task in a transaction of the caller.

        That may last: the clock does not stand still in it, and the lease of ``worker`` must
        not have ended. Return whether the task has moved.
        """

    def put_back(self, worker: UUID, rows: Sequence[PutBack]) -> Steps[set[UUID]]:
        """Make tasks that ``worker`` holds claimable again, but for canceled ones; return which."""

    def canceled(self, worker: UUID, held: Iterable[UUID]) -> Steps[set[UUID]]:
        """Return which of the tasks that ``worker`` holds are marked as canceled."""

    def report(self, worker: UUID, progress: Mapping[UUID, Progress]) -> Steps[None]:
        """Keep the progress of tasks that ``worker`` holds."""

    def key(self, value: UUID) -> Any:
        """Return ``value`` as the driver takes it."""


def priorities_sql(tasks: str, each_queue: str) -> str:
    """Return the statement for the priorities of queues: one index probe for each."""
    return f"""
            with recursive found(queue, priority) as (
                select q.value, (select max(priority) from {tasks} where queue = q.value)
                  from {each_queue}
                union all
                select found.queue, (select max(priority) from {tasks}
                                      where queue = found.queue and priority < found.priority)
                  from found where found.priority is not null
            )
            select queue, priority from found where priority is not null
        """


def in_order(queues: Sequence[str], places: Rows) -> list[Place]:
    """Return ``places`` as they are served: queues as they are listed, the most urgent first."""
    distinct = {(queue, priority) for queue, priority in places}
    return sorted(distinct, key=serving_order(queues))


def serving_order(queues: Sequence[str]) -> Callable[[Place], tuple[int, int]]:
    """Return the key by which places are sorted as they are served."""
    rank = ranks(queues)
    return lambda place: (rank[place[0]], -place[1])


def ranks(queues: Sequence[str]) -> dict[str, int]:
    """Return for each queue how many are served before it."""
    return {queue: rank for rank, queue in enumerate(dict.fromkeys(queues))}


def claim_of(row: Sequence[Any], task_id: UUID, worker: UUID) -> Claim:
    """Return the claim that a row of a claiming statement describes."""
    _, queue, func, lease, attempts, crashes, payload, age, expires_in, suspect = row[:10]
    return Claim(
        id=task_id,
        queue=queue,
        func=func,
        payload=None if payload is None else unpack(payload, task_id, func),
        lease=lease,
        worker=worker,
        attempts=attempts,
        crashes=crashes,
        age=age,
        expires_in=expires_in,
        suspect=bool(suspect),
    )


def relative(moment: Moment | None) -> float | None:
    """Return the seconds from now that ``moment`` names, if it does."""
    return None if moment is None or moment.absolute else moment.seconds


def absolute(moment: Moment | None) -> float | None:
    """Return the Unix timestamp that ``moment`` names, if it does."""
    return None if moment is None or not moment.absolute else moment.seconds


def first_status(message: Message) -> int:
    """Return the status in which a message is stored."""
    return WAITING if message.due.seconds == 0 else DELAYED


def tags_text(message: Message) -> str | None:
    """Return the tags of a message as a JSON list, or None."""
    return json.dumps(message.tags) if message.tags else None
