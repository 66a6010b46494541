"""Looking up what became of a task."""

import json
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row

from ...messages import Ending, Failure, Progress, TaskRecord
from .payloads import decode
from .statements import Statements


class Records:
    """Reads about single tasks."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    def find(self, connection: Connection, task_id: UUID) -> TaskRecord | None:
        """Return what is known about a task, or None."""
        row = self._row(connection, task_id)
        return None if row is None else _record(row, self._last_error(connection, task_id))

    def knows(self, connection: Connection, task_id: UUID) -> bool:
        """Whether there is such a task, live or ended."""
        return self._row(connection, task_id) is not None

    def ending(self, connection: Connection, task_id: UUID) -> Ending | None:
        """Return how a task ended, or None when it has not."""
        parameters = {"id": task_id}
        row = connection.execute(self._statements.ended_task, parameters).one_or_none()
        if row is None:
            return None
        result = connection.execute(self._statements.result, parameters).one_or_none()
        error = self._last_error(connection, task_id)
        return Ending(
            status=row.status,
            value=None if result is None else result.result,
            problem=None if result is None else result.problem,
            failure=None
            if error is None
            else Failure(error.kind, error.message, error.traceback, row.reason),
        )

    def _row(self, connection: Connection, task_id: UUID) -> Row[Any] | None:
        """Find a task that may move from one table to the other between the looks."""
        statements = self._statements
        for statement in (statements.ended_task, statements.live_task, statements.ended_task):
            row = connection.execute(statement, {"id": task_id}).one_or_none()
            if row is not None:
                return row
        return None

    def _last_error(self, connection: Connection, task_id: UUID) -> Row[Any] | None:
        return connection.execute(self._statements.last_error, {"id": task_id}).one_or_none()


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
        progress=_progress(row),
    )


def _progress(row: Any) -> Progress | None:
    """Return what a live task has said of its progress; nobody keeps that of an ended one."""
    if getattr(row, "progress", None) is None:
        return None
    return Progress(row.progress, str(decode(row.progress_message)))
