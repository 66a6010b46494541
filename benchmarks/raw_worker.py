"""The least that a worker can be: ``python -m benchmarks.raw_worker DSN``."""

import sys
from contextlib import closing
from uuid import uuid4

from alligator_sql import ALL, Gator, Task
from alligator_sql.messages import WorkerRecord

from . import raw


def main(dsn: str) -> None:
    """Claim each task as soon as there is news, and run it, until the process is ended."""
    worker = WorkerRecord(uuid4(), "driver", 0, (ALL,), 3600.0)
    with closing(Gator(dsn)) as gator, closing(raw.connect(dsn)) as connection:
        gator.store.heartbeat(worker, first=True)
        connection.listen(ALL)
        while True:
            with connection.transaction():
                claims = connection.claim(ALL, 1, worker.id)
            for claim in claims:
                Task.deserialize(claim.payload or "").run()
            if claims:
                with connection.transaction():
                    connection.end(worker.id, claims)
            else:
                connection.wait()


if __name__ == "__main__":
    main(sys.argv[1])
