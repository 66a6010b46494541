"""The interface that every backend implements.

A backend stores messages and hands them out as claims. It never looks into a payload.
Methods that a capability gates raise ``Unsupported`` here; a backend that declares the
capability overrides them.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, ClassVar
from uuid import UUID

from ..exceptions import Unsupported
from ..messages import (
    Claim,
    Ending,
    Failure,
    Message,
    Payload,
    Progress,
    Receipt,
    Series,
    TaskRecord,
    WorkerRecord,
    number_new,
)
from ..outcomes import Settlement, Succeeded
from .capabilities import Capabilities

logger = logging.getLogger(__name__)

DAY = 86_400.0
CANCELED_REASON = "canceled"
"""Why a task ended that somebody had canceled, as a word."""
QUARANTINED = "quarantined"
"""Why a task ended that was running when too many workers died, as a word."""
CAN_JOIN = "PostgreSQL (postgresql://) and SQLite (sqlite:///) can"
CAN_ALL_ELSE = "PostgreSQL, SQLite, Redis and local memory can"
"""Who has every capability but that of joining a transaction."""


class Backend(ABC):
    """A store of tasks. All methods may be called from any thread.

    Attributes:
        name: The name of the backend in messages.
        capabilities: What it can do.
        options: The keyword arguments of ``Gator`` that its constructor takes beside the
            connection string, such as ``prefix``; any other is refused.
        batch: How many tasks ``map`` stores at once at most.
        keep_success: Seconds that successful tasks stay in the history, unless a worker says
            otherwise.
        keep_failed: Seconds that failed and canceled tasks stay there.
        stale_outcomes: How many outcomes came too late so far, and changed nothing.
    """

    name: ClassVar[str]
    capabilities: ClassVar[Capabilities]
    options: ClassVar[frozenset[str]] = frozenset()
    batch: int = 1000
    keep_success: ClassVar[float] = DAY
    keep_failed: ClassVar[float] = 30 * DAY
    stale_outcomes = 0

    @abstractmethod
    def open(self) -> None:
        """Make sure that the store is there and usable. Does nothing the second time.

        Raises:
            StoreUnavailableError: It does not answer.
            SchemaError: Its tables or queues are missing or too old.
        """

    @abstractmethod
    def close(self) -> None:
        """Give back all connections. The backend may be used again afterwards."""

    @abstractmethod
    def enqueue(self, messages: Sequence[Message], connection: Any = None) -> list[Receipt]:
        """Store ``messages`` all or none, and return a receipt for each, in their order.

        With ``connection`` they become part of its transaction, without any commit,
        rollback or savepoint.

        Raises:
            Unsupported: This backend cannot join a transaction, or not this connection.
        """

    def enqueue_series(self, series: Series) -> int:
        """Store the tasks of ``series`` all or none, and return how many are new.

        For backends that have a cheaper way for what differs in nothing but its id and payload.
        """
        return number_new(self.enqueue(series.messages()))

    async def aenqueue(self, messages: Sequence[Message], connection: Any) -> list[Receipt]:
        """Do what :meth:`enqueue` does, for a connection that is asynchronous."""
        raise self.cannot("join a transaction", CAN_JOIN)

    def is_async(self, connection: Any) -> bool:
        """Whether ``connection`` needs :meth:`aenqueue`.

        Raises:
            Unsupported: This backend cannot join a transaction, or not this connection.
        """
        raise self.cannot("join a transaction", CAN_JOIN)

    @abstractmethod
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
        """Acknowledge ``settlements``, then hold up to ``limit`` due tasks for ``worker``.

        Queues are served in their order, each by priority (higher first), due time and id.
        Where the store has transactions, both happen in one. Nothing is claimed for a
        worker whose lease has ended. A claim may hold less than is due, even nothing; what
        it has left comes with the next ones. With ``thorough`` it holds nothing only when
        nothing is due that others do not hold, whatever it costs to find that out.

        ``begins`` says that all of them start at once, but for suspects: should the worker die,
        that is a crash of each. Without it nobody knows which of them had begun, so each
        becomes a suspect: its crash counts only after it was announced by :meth:`begin`.
        """

    @abstractmethod
    def ack(self, settlements: Sequence[Settlement]) -> set[UUID]:
        """Persist outcomes and return the ids for which that changed something.

        An outcome whose fence no longer holds changes nothing.
        """

    @abstractmethod
    def heartbeat(self, worker: WorkerRecord, *, first: bool = False) -> bool:
        """Renew the lease of ``worker``, or begin it with ``first``.

        Returns False when the lease had already ended: it is not renewed then, and the
        process must go on as another incarnation.
        """

    @abstractmethod
    def leave(self, worker: UUID, *, holds: bool) -> None:
        """End the lease of ``worker``; with ``holds`` it has tasks that others must take back."""

    @abstractmethod
    def listen(self, queues: Sequence[str], timeout: float) -> bool:
        """Wait up to ``timeout`` seconds and return whether there may be something to claim.

        Hints may be lost and may be wrong; nothing relies on them but latency.
        """

    def unlisten(self) -> None:  # noqa: B027 - most stores keep nothing for a thread
        """Give back what :meth:`listen` keeps for the calling thread, which listens no more."""

    @abstractmethod
    def due_in(self, queues: Sequence[str]) -> float | None:
        """Return the seconds until the next task of ``queues`` that is not due yet, or None.

        Tasks of a paused queue do not count.
        """

    @abstractmethod
    def len(self, queue: str) -> int:
        """Return how many tasks of ``queue`` wait, the delayed ones included."""

    @abstractmethod
    def drop_all(self, queue: str) -> None:
        """Remove every waiting task of ``queue``, without a trace. Running ones go on."""

    def claim_one(self, queue: str, task_id: str, worker: UUID) -> Claim | None:
        """Hold the waiting task ``task_id``, due or not; None when there is none.

        It begins at once, even a suspect, which is none any more. A pause of its queue does not
        matter: whoever names a task wants that one. ``queue`` is where to look, for stores that
        cannot find a task by its id alone.
        """
        raise self.cannot("claim a task by its id", CAN_ALL_ELSE)

    def begin(self, claims: Sequence[Claim]) -> set[UUID]:
        """Note that these suspects start now, and return the ids of those that are still held.

        The others must not be started: their fence no longer holds. Those that start are no
        suspects any more; every outcome but ``Released`` ends the suspicion as well.
        """
        raise self.cannot("note that a task begins", CAN_ALL_ELSE)

    def cancel(self, queue: str, task_id: str) -> Payload | None:
        """End the waiting task ``task_id`` as canceled and return its payload, or None.

        With the capability ``interrupt`` a running task is marked, its worker is woken, and
        its payload is returned as well: :meth:`canceled` tells the worker. The mark is a wish.
        A success or failure that comes meanwhile stands; but where the task would wait again,
        because of a retry, a snooze, a release or a rescue, it ends as canceled instead.
        """
        raise self.cannot("cancel a task", CAN_ALL_ELSE)

    def canceled(self, worker: UUID, held: Collection[UUID]) -> set[UUID]:
        """Return which of the tasks that ``worker`` holds somebody has canceled meanwhile."""
        raise self.cannot("cancel a task that runs", CAN_ALL_ELSE)

    def report(self, worker: UUID, progress: Mapping[UUID, Progress]) -> None:
        """Keep what running tasks of ``worker`` say of their progress, for :meth:`find`.

        What is said of a task that the worker holds no longer changes nothing. It is forgotten
        when the task is put back, and when it ends.
        """
        raise self.cannot("keep the progress of a task", CAN_ALL_ELSE)

    def complete(self, settlement: Settlement, connection: Any) -> bool:
        """Record a success in the transaction of ``connection``, and return whether that did.

        False says that it may not count, and that nothing was changed: somebody else has the
        task, or the lease of the worker has ended, so that somebody may take it at any moment.
        Nothing is committed, rolled back or announced here. The same settlement is
        acknowledged later as usual, which changes nothing if the transaction was committed.

        Raises:
            Unsupported: This backend cannot join a transaction, or not this connection.
        """
        raise self.cannot("join a transaction", CAN_JOIN)

    async def acomplete(self, settlement: Settlement, connection: Any) -> bool:
        """Do what :meth:`complete` does, for a connection that is asynchronous."""
        raise self.cannot("join a transaction", CAN_JOIN)

    def retry(self, queue: str, task_id: str) -> bool:
        """Let ``task_id``, which has failed or was canceled, wait again, due now.

        Returns False, and changes nothing, when there is no such task, when it has not
        ended that way, or when a live task has its unique key. Its attempts and crashes
        count from 0 again; its lease goes on growing, so that late outcomes of its former
        claims still change nothing. It expires no more, and has no reason any longer; its
        last error stays known, as that of any task that is tried again.
        """
        raise self.cannot("let an ended task run again", CAN_ALL_ELSE)

    def pause(self, queue: str) -> None:
        """Let :meth:`claim` find nothing in ``queue`` until :meth:`resume`. What runs goes on.

        Needs no task in it, and does nothing the second time.
        """
        raise self.cannot("pause a queue", CAN_ALL_ELSE)

    def resume(self, queue: str) -> None:
        """End a pause."""
        raise self.cannot("pause a queue", CAN_ALL_ELSE)

    def is_paused(self, queue: str) -> bool:
        """Return whether ``queue`` is paused."""
        raise self.cannot("pause a queue", CAN_ALL_ELSE)

    def find(self, task_id: str) -> TaskRecord | None:
        """Return what is known about ``task_id``, live or ended, or None."""
        raise self.cannot("find a task", CAN_ALL_ELSE)

    def ending(self, task_id: str, timeout: float) -> Ending | None:
        """Wait up to ``timeout`` seconds for the end of ``task_id``; None when it lives on.

        Raises:
            UnknownTaskError: No task has this id.
        """
        raise self.cannot("keep results", CAN_ALL_ELSE)

    def reconcile(self, worker: UUID, held: Collection[UUID]) -> list[UUID]:
        """Hand back what ``worker`` holds in the store beyond ``held``, and return the ids.

        Those are claims whose answer was lost on the way: nobody else would take them back
        while the worker lives.
        """
        raise self.cannot("hand back lost claims", CAN_ALL_ELSE)

    def rescue(self, max_crashes: int) -> list[UUID]:
        """Take back the tasks of workers whose lease has ended, and return their ids.

        Each that had begun counts one crash more; with ``max_crashes`` of them it fails as
        quarantined, with the last worker, its host and its process id. The others become
        suspects, see :meth:`claim`, and their attempt is given back. Those that were canceled
        while they ran end as canceled, whatever they count.
        """
        raise self.cannot("take back the tasks of dead workers", CAN_ALL_ELSE)

    def prune(self, keep_success: float, keep_failed: float) -> int:
        """Remove what ended longer ago than these seconds, and return how many tasks it was.

        ``keep_success`` holds for successful tasks, ``keep_failed`` for all others.
        """
        raise self.cannot("prune ended tasks", CAN_ALL_ELSE)

    def report_stale(self, settlements: Iterable[Settlement], applied: Collection[UUID]) -> None:
        """Count and log the outcomes that came too late: all that were not ``applied``.

        Somebody else holds or has ended those tasks. For those that call this after each
        :meth:`ack`.
        """
        for settlement in settlements:
            outcome = settlement.outcome
            expected = isinstance(outcome, Succeeded) and outcome.completed
            if settlement.claim.id not in applied and not expected:
                self.stale_outcomes += 1
                logger.warning(
                    "stale outcome of task %s (lease %d) changed nothing: the lease was lost, or "
                    "it was recorded before",
                    settlement.claim.id,
                    settlement.claim.lease,
                )

    def cannot(self, what: str, who_can: str = "") -> Unsupported:
        """Return the error that says that this backend cannot do ``what``."""
        hint = f" {who_can}." if who_can else ""
        return Unsupported(f"The {self.name} backend cannot {what}.{hint}")


def quarantined(crashes: int, worker: UUID, host: str | None, pid: int | None) -> Failure:
    """Return why a task ends that was running when its workers died.

    ``host`` and ``pid`` are None when nobody knows any more where the last one ran.
    """
    where = f" on {host} with process id {pid}" if host is not None else ""
    text = f"{crashes} workers died while they ran this task; the last was {worker}{where}."
    return Failure("WorkerDied", text, reason=QUARANTINED)
