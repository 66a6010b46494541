"""Persisting outcomes: the one place where what became of a task reaches the database."""

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from uuid import UUID

from sqlalchemy import Connection

from ...constants import FAILED, RETRYING, SUCCESS, WAITING
from ...messages import Failure
from ...outcomes import Failed, Outcome, Released, Retry, Settlement, Snoozed, Succeeded
from .dialects import Dialect, Ended, PutBack
from .payloads import encode
from .statements import Statements
from .steps import drive, on_sqlalchemy


class Settler:
    """Writes batches of outcomes, fenced, on a connection inside a transaction."""

    def __init__(self, dialect: Dialect, statements: Statements) -> None:
        self._dialect = dialect
        self._statements = statements

    def settle(
        self,
        connection: Connection,
        settlements: Sequence[Settlement],
        announce: Callable[[UUID], None],
    ) -> set[UUID]:
        """Persist ``settlements`` and return the ids whose fence held.

        ``announce`` is called with the ids of ended tasks that somebody may wait for.
        """
        execute = on_sqlalchemy(connection)
        batches: defaultdict[UUID, list[Settlement]] = defaultdict(list)
        for settlement in settlements:
            batches[settlement.claim.worker].append(settlement)
        applied: set[UUID] = set()
        for worker, batch in batches.items():
            ended = [_ended(one) for one in batch if isinstance(one.outcome, Succeeded | Failed)]
            back = [
                _put_back(one) for one in batch if not isinstance(one.outcome, Succeeded | Failed)
            ]
            if ended:
                applied |= drive(self._dialect.end(worker, ended), execute)
            if back:
                applied |= drive(self._dialect.put_back(worker, back), execute)
        for settlement in settlements:
            if settlement.claim.id in applied:
                self._write_details(connection, settlement, announce)
        return applied

    def _write_details(
        self, connection: Connection, settlement: Settlement, announce: Callable[[UUID], None]
    ) -> None:
        claim, outcome = settlement.claim, settlement.outcome
        match outcome:
            case Succeeded() if outcome.kept:
                connection.execute(
                    self._statements.add_result,
                    {"id": claim.id, "result": outcome.result, "problem": outcome.problem},
                )
                announce(claim.id)
            case Failed():
                self.write_error(connection, claim.id, claim.lease, claim.attempts, outcome.failure)
                announce(claim.id)
            case Retry():
                self.write_error(connection, claim.id, claim.lease, claim.attempts, outcome.failure)
                connection.execute(
                    self._statements.rewrite_payload,
                    {"task_id": claim.id, "new_payload": encode(outcome.payload)},
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


def _ended(settlement: Settlement) -> Ended:
    claim, outcome = settlement.claim, settlement.outcome
    status, reason, refund = SUCCESS, None, 0
    if isinstance(outcome, Failed):
        status, reason, refund = FAILED, outcome.failure.reason, int(not outcome.started)
    age = time.monotonic() - settlement.ended
    return Ended(claim.id, claim.lease, status, reason, refund, age, settlement.seconds)


def _put_back(settlement: Settlement) -> PutBack:
    claim = settlement.claim
    outcome: Outcome = settlement.outcome
    match outcome:
        case Retry(delay=delay):
            return PutBack(claim.id, claim.lease, RETRYING, delay, 0)
        case Snoozed(delay=delay):
            return PutBack(claim.id, claim.lease, WAITING, delay, 1)
        case Released():
            return PutBack(claim.id, claim.lease, WAITING, None, 1)
    raise TypeError(f"{outcome!r} does not put a task back.")
