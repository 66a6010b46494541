"""A worker without a fence: what it has to say counts, whoever holds the task by now.

``python -m tests.chaos.unfenced`` takes the place of ``alligator-sql worker`` to show that the
checker finds out. It is for SQLite.
"""

import argparse
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any
from uuid import UUID

from alligator_sql import Gator, Worker
from alligator_sql.backends.sql import SQLBackend
from alligator_sql.lease import Lease
from alligator_sql.messages import Claim, WorkerRecord
from alligator_sql.outcomes import Settlement


class UnfencedBackend(SQLBackend):
    """Settles in the name of whoever holds a task, and gives lost leases back."""

    def __init__(self, conn_string: str) -> None:
        super().__init__(conn_string)
        self._path = conn_string.removeprefix("sqlite:///")

    def claim(
        self,
        queues: Sequence[str],
        limit: int,
        worker: UUID,
        settlements: Sequence[Settlement] = (),
        **options: Any,
    ) -> list[Claim]:
        """Claim, with outcomes that nothing fences."""
        return super().claim(queues, limit, worker, self._renamed(settlements), **options)

    def ack(self, settlements: Sequence[Settlement]) -> set[UUID]:
        """Persist outcomes that nothing fences."""
        return super().ack(self._renamed(settlements))

    def heartbeat(self, worker: WorkerRecord, *, first: bool = False) -> bool:
        """Renew a lease that has ended, too."""
        return super().heartbeat(worker, first=first) or super().heartbeat(worker, first=True)

    def _renamed(self, settlements: Sequence[Settlement]) -> list[Settlement]:
        with closing(sqlite3.connect(self._path, timeout=60)) as connection:
            return [self._in_the_name_of_its_holder(one, connection) for one in settlements]

    def _in_the_name_of_its_holder(
        self, settlement: Settlement, connection: sqlite3.Connection
    ) -> Settlement:
        held = connection.execute(
            "select lease, worker_id from alligator_tasks where id = ? and status = 6",
            (settlement.claim.id.hex,),
        ).fetchone()
        if held is None:
            return settlement
        lease, worker = held
        return replace(
            settlement, claim=replace(settlement.claim, lease=lease, worker=UUID(worker))
        )


def main() -> None:
    """Run until told to stop, with the options of the storm's workers."""
    parser = argparse.ArgumentParser()
    parser.add_argument("-q", dest="queue")
    parser.add_argument("-c", dest="concurrency", type=int)
    parser.add_argument("--lease", type=float)
    parser.add_argument("--grace", type=float)
    options = parser.parse_args()
    # Its own clock would stop a worker that comes too late, as a second line of defence.
    Lease._check = lambda *_: None  # type: ignore[method-assign]
    gator = Gator(queue_name=options.queue, backend_class=UnfencedBackend)
    Worker(
        gator, concurrency=options.concurrency, lease=options.lease, grace=options.grace
    ).run_forever()


if __name__ == "__main__":
    main()
