"""Taking back the tasks of workers that died.

Every worker does this, there is no leader: whoever locks the row of a dead worker takes
back its tasks and removes the row in the same transaction, the others skip it. A task that
somebody else has locked is left, and with it the row, for the next time.
"""

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from ...constants import FAILED, WAITING
from ...messages import Failure
from .dialects import Dialect, Ended, PutBack
from .settling import Settler
from .statements import Statements
from .steps import drive, on_sqlalchemy

QUARANTINED = "quarantined"


def rescue(
    connection: Connection,
    dialect: Dialect,
    statements: Statements,
    settler: Settler,
    max_crashes: int,
    announce: Callable[[UUID], None],
    *,
    thorough: bool,
) -> list[UUID]:
    """Take back what dead workers held and return the ids.

    ``announce`` is called with the ids of the tasks that ended as quarantined. ``thorough``
    also looks for running tasks whose worker has no row at all, which reads the whole live
    table.
    """
    dead = list(connection.scalars(statements.dead_workers))
    orphans = list(connection.execute(statements.orphans, {"workers": dead})) if dead else []
    if thorough:
        orphans += connection.execute(statements.strays)
    if orphans:
        _take_back(connection, dialect, statements, settler, orphans, max_crashes, announce)
    if dead:
        connection.execute(statements.remove_workers, {"ids": dead})
    return [orphan.id for orphan in orphans]


def _take_back(
    connection: Connection,
    dialect: Dialect,
    statements: Statements,
    settler: Settler,
    orphans: Sequence[Any],
    max_crashes: int,
    announce: Callable[[UUID], None],
) -> None:
    connection.execute(statements.count_crash, {"ids": [orphan.id for orphan in orphans]})
    execute = on_sqlalchemy(connection)
    for worker in sorted({orphan.worker_id for orphan in orphans}):
        held = [orphan for orphan in orphans if orphan.worker_id == worker]
        back = [one for one in held if one.crashes + 1 < max_crashes]
        lost = [one for one in held if one.crashes + 1 >= max_crashes]
        if back:
            rows = [PutBack(one.id, one.lease, WAITING, None, 0) for one in back]
            drive(dialect.put_back(worker, rows), execute)
        if lost:
            ends = [Ended(one.id, one.lease, FAILED, QUARANTINED, 0) for one in lost]
            drive(dialect.end(worker, ends), execute)
        for one in lost:
            text = (
                f"{one.crashes + 1} workers died while they ran this task; the last was {worker}."
            )
            failure = Failure("WorkerDied", text, reason=QUARANTINED)
            settler.write_error(connection, one.id, one.lease, one.attempts, failure)
            announce(one.id)
