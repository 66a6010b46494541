"""What operators do to tasks and queues: cancel, try again, pause and resume."""

from uuid import UUID

from sqlalchemy import Connection

from ...constants import CANCELED, RUNNING
from ...messages import Payload
from ..base import CANCELED_REASON
from .payloads import unpack
from .statements import Statements
from .wakeups import Wakeups


class Operations:
    """Carries them out on a connection inside a transaction."""

    def __init__(self, statements: Statements, wakeups: Wakeups) -> None:
        self._statements = statements
        self._wakeups = wakeups

    def cancel(self, connection: Connection, task_id: UUID) -> Payload | None:
        """End a waiting task as canceled or mark a running one; return its payload, or None."""
        row = connection.execute(self._statements.cancelable_task, {"id": task_id}).one_or_none()
        if row is None:
            return None
        if row.status == RUNNING:
            connection.execute(self._statements.mark_canceled, {"task_id": task_id})
            self._wakeups.announce_due(connection, [row.queue])
            return unpack(row.payload, task_id, row.func)
        ended = {
            column: getattr(row, column)
            for column in (
                *("id", "queue", "func", "priority", "attempts", "crashes", "created_at"),
                *("run_at", "started_at", "worker_id", "unique_key", "tags", "lease"),
            )
        }
        connection.execute(
            self._statements.add_finished, ended | {"status": CANCELED, "reason": CANCELED_REASON}
        )
        connection.execute(self._statements.delete_tasks, {"ids": [task_id]})
        self._wakeups.announce_end(connection, task_id)
        return unpack(row.payload, task_id, row.func)

    def retry(self, connection: Connection, task_id: UUID) -> bool:
        """Let a failed or canceled task wait again, and return whether it does."""
        queue = connection.scalar(self._statements.revive, {"id": task_id})
        if queue is None:
            return False
        connection.execute(self._statements.delete_finished, {"id": task_id})
        self._wakeups.announce_due(connection, [queue])
        return True

    def pause(self, connection: Connection, queue: str) -> None:
        """Let nothing of ``queue`` be claimed; a pause that lasts already keeps its begin."""
        connection.execute(self._statements.pause, {"queue": queue})

    def resume(self, connection: Connection, queue: str) -> None:
        """End a pause, and wake the workers of ``queue``."""
        if connection.execute(self._statements.resume, {"queue": queue}).rowcount:
            self._wakeups.announce_due(connection, [queue])
