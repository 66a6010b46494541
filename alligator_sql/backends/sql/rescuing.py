"""Taking back the tasks of workers that died.

Every worker does this, there is no leader: whoever locks the row of a dead worker takes
back its tasks and removes the row in the same transaction, the others skip it. A task that
somebody else has locked is left, and with it the row, for the next time.
"""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row

from ...constants import FAILED, WAITING
from ..base import QUARANTINED, quarantined
from .dialects import Ended, PutBack
from .settling import Settler
from .statements import Statements


def rescue(
    connection: Connection,
    statements: Statements,
    settler: Settler,
    max_crashes: int,
    announce: Callable[[UUID], None],
    *,
    thorough: bool,
) -> list[UUID]:
    """Take back what dead workers held and return the ids.

    ``announce`` is called with the ids of the tasks that ended as quarantined or canceled.
    ``thorough`` also looks for running tasks whose worker has no row at all, which reads the
    whole live table.
    """
    dead = {row.id: row for row in connection.execute(statements.dead_workers)}
    orphans: list[Row[Any]] = []
    if dead:
        orphans += connection.execute(statements.orphans, {"workers": list(dead)})
    if thorough:
        orphans += connection.execute(statements.strays)
    crashed = [orphan.id for orphan in orphans if orphan.started_at is not None]
    if crashed:
        connection.execute(statements.count_crash, {"ids": crashed})
    for worker in sorted({orphan.worker_id for orphan in orphans}):
        held = [orphan for orphan in orphans if orphan.worker_id == worker]
        poison = [orphan for orphan in held if _is_poison(orphan, max_crashes)]
        back = [_put_back(orphan) for orphan in held if not _is_poison(orphan, max_crashes)]
        if back:
            settler.put_back(connection, worker, back, announce)
        if poison:
            ends = [Ended(one.id, one.lease, FAILED, QUARANTINED, 0) for one in poison]
            settler.end(connection, worker, ends)
        for one in poison:
            known = dead.get(worker)
            host, pid = (None, None) if known is None else (known.host, known.pid)
            failure = quarantined(one.crashes + 1, worker, host, pid)
            settler.write_error(connection, one.id, one.lease, one.attempts, failure)
            announce(one.id)
    if dead:
        connection.execute(statements.remove_workers, {"ids": list(dead)})
    return [orphan.id for orphan in orphans]


def _is_poison(orphan: Row[Any], max_crashes: int) -> bool:
    """Whether this crash is one too many; who was to be canceled is canceled instead."""
    crashed = orphan.started_at is not None and orphan.canceled_at is None
    return crashed and orphan.crashes + 1 >= max_crashes


def _put_back(orphan: Row[Any]) -> PutBack:
    begun = orphan.started_at is not None
    return PutBack(orphan.id, orphan.lease, WAITING, None, int(not begun), suspect=not begun)
