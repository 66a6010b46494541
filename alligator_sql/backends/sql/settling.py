"""Persisting outcomes: the one place where what became of a task reaches the database."""

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from uuid import UUID

from sqlalchemy import Connection

from ...constants import CANCELED, FAILED, RETRYING, SUCCESS, WAITING
from ...messages import Failure
from ...outcomes import (
    Canceled,
    Failed,
    Outcome,
    Released,
    Retry,
    Settlement,
    Snoozed,
    Succeeded,
)
from ..base import CANCELED_REASON
from .dialects import Dialect, Ended, Execute, PutBack, Statement, Steps
from .payloads import pack
from .statements import Statements
from .steps import drive

ENDS = (Succeeded, Failed, Canceled)


class Settler:
    """Writes batches of outcomes, fenced, on a connection inside a transaction."""

    def __init__(
        self,
        dialect: Dialect,
        statements: Statements,
        executor: Callable[[Connection], Execute],
    ) -> None:
        self._dialect = dialect
        self._statements = statements
        self._executor = executor

    def settle(
        self,
        connection: Connection,
        settlements: Sequence[Settlement],
        announce: Callable[[UUID], None],
    ) -> set[UUID]:
        """Persist ``settlements`` and return the ids whose fence held.

        ``announce`` is called with the ids of ended tasks that somebody may wait for.
        """
        execute = self._executor(connection)
        batches: defaultdict[UUID, list[Settlement]] = defaultdict(list)
        for settlement in settlements:
            batches[settlement.claim.worker].append(settlement)
        applied: set[UUID] = set()
        for worker, batch in batches.items():
            ended = [_ended(one) for one in batch if isinstance(one.outcome, ENDS)]
            back = [_put_back(one) for one in batch if not isinstance(one.outcome, ENDS)]
            if ended:
                applied |= drive(self._dialect.end(worker, ended), execute)
            if back:
                applied |= self.put_back(connection, worker, back, announce)
        for settlement in settlements:
            if settlement.claim.id in applied:
                self._write_details(connection, settlement, announce)
        return applied

    def ends(self, worker: UUID, settlements: Sequence[Settlement]) -> Steps[set[UUID]]:
        """Persist what :func:`is_plain`, and return the ids whose fence held."""
        return self._dialect.end(worker, [_ended(one) for one in settlements])

    def end(self, connection: Connection, worker: UUID, rows: Sequence[Ended]) -> set[UUID]:
        """End tasks of ``worker``, and return the ids whose fence held."""
        return drive(self._dialect.end(worker, rows), self._executor(connection))

    def put_back(
        self,
        connection: Connection,
        worker: UUID,
        rows: Sequence[PutBack],
        announce: Callable[[UUID], None],
    ) -> set[UUID]:
        """Let tasks of ``worker`` wait again, and return the ids whose fence held.

        Those that were canceled while they ran end as canceled instead. Putting back leaves
        them, so whatever it has left is canceled, or the fence keeps it. A cancellation that
        is about to be committed is waited for by the first statement, and seen by the second.
        """
        execute = self._executor(connection)
        applied = drive(self._dialect.put_back(worker, rows), execute)
        left = [
            Ended(row.id, row.lease, CANCELED, CANCELED_REASON, row.refund, row.age, row.seconds)
            for row in rows
            if row.id not in applied
        ]
        if not left:
            return applied
        canceled = drive(self._dialect.end(worker, left), execute)
        for task_id in canceled:
            announce(task_id)
        return applied | canceled

    def complete(self, settlement: Settlement) -> Steps[bool]:
        """Persist a success in a transaction of the caller; return whether the fence held."""
        claim, outcome = settlement.claim, settlement.outcome
        if not isinstance(outcome, Succeeded):
            raise TypeError(f"{outcome!r} is no success: only those complete a task.")
        completed = yield from self._dialect.complete(claim.worker, _ended(settlement))
        if completed and outcome.kept:
            yield self._result(claim.id, outcome)
        return completed

    def _result(self, task_id: UUID, outcome: Succeeded) -> Statement:
        key, result, problem = self._dialect.key(task_id), outcome.result, outcome.problem
        return self._statements.add_result, {"id": key, "result": result, "problem": problem}

    def _write_details(
        self, connection: Connection, settlement: Settlement, announce: Callable[[UUID], None]
    ) -> None:
        claim, outcome = settlement.claim, settlement.outcome
        match outcome:
            case Succeeded() if outcome.kept:
                self._executor(connection)(*self._result(claim.id, outcome))
                announce(claim.id)
            case Failed() | Canceled():
                self.write_error(connection, claim.id, claim.lease, claim.attempts, outcome.failure)
                announce(claim.id)
            case Retry():
                self.write_error(connection, claim.id, claim.lease, claim.attempts, outcome.failure)
                connection.execute(
                    self._statements.rewrite_payload,
                    {
                        "task_id": claim.id,
                        "new_payload": pack(outcome.payload, claim.id, claim.func),
                    },
                )

    def write_error(
        self, connection: Connection, task_id: UUID, lease: int, attempt: int, failure: Failure
    ) -> None:
        """Write why one attempt of a task failed."""
        connection.execute(
            self._statements.add_error,
            {
                "task_id": task_id,
                "lease": lease,
                "attempt": attempt,
                "kind": failure.kind,
                "message": failure.message,
                "traceback": failure.traceback,
            },
        )


def is_plain(settlements: Sequence[Settlement], worker: UUID) -> bool:
    """Whether these are successes of ``worker`` with nothing to keep: one statement ends them."""
    return all(
        isinstance(one.outcome, Succeeded) and not one.outcome.kept and one.claim.worker == worker
        for one in settlements
    )


def _ended(settlement: Settlement) -> Ended:
    claim, outcome = settlement.claim, settlement.outcome
    status, reason, refund = SUCCESS, None, 0
    if isinstance(outcome, Failed):
        status, reason, refund = FAILED, outcome.failure.reason, int(not outcome.started)
    elif isinstance(outcome, Canceled):
        status, reason = CANCELED, CANCELED_REASON
    age = time.monotonic() - settlement.ended
    return Ended(claim.id, claim.lease, status, reason, refund, age, settlement.seconds)


def _put_back(settlement: Settlement) -> PutBack:
    outcome: Outcome = settlement.outcome
    delay: float | None = None
    status, refund, suspect = WAITING, 1, None
    match outcome:
        case Retry():
            status, delay, refund, suspect = RETRYING, outcome.delay, 0, False
        case Snoozed():
            delay, suspect = outcome.delay, False
        case Released():
            pass
        case _:
            raise TypeError(f"{outcome!r} does not put a task back.")
    age, seconds = time.monotonic() - settlement.ended, settlement.seconds
    fence = settlement.claim.id, settlement.claim.lease
    return PutBack(*fence, status, delay, refund, suspect, age, seconds)
