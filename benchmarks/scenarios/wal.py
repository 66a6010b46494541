"""How much log PostgreSQL writes for the whole life of a task."""

import random
import string
from collections.abc import Callable
from contextlib import closing
from functools import partial
from uuid import uuid4

from alligator_sql import ALL, Gator, Worker
from alligator_sql.messages import WorkerRecord

from .. import raw
from ..peers.tasks import deliver, mail
from ..servers import Store
from ..stats import Measurement, by_key, interleave
from ..tasks import prepared

RAW = "driver: insert, claim, ack"
SMALL = "hello"
LARGE = "".join(random.Random(0).choices(string.ascii_letters, k=1500))
WARM_UP = 200


def measure(store: Store, quick: bool) -> list[Measurement]:
    """Compare ``map`` and a worker with inserting, claiming and acknowledging in batches."""
    number = 1_000 if quick else 20_000
    measurements = []
    with (
        store.database() as dsn,
        closing(Gator(dsn)) as gator,
        closing(raw.connect(dsn)) as connection,
    ):

        def enqueue(count: int, subject: str) -> None:
            gator.map(deliver, (mail(each, subject) for each in range(count)))

        def work() -> None:
            Worker(gator, burst=True, log_level="WARNING").run_forever()

        def insert(count: int, subject: str) -> None:
            connection.bulk_inserts()["psycopg, unnest"](prepared(gator, count, subject))

        def claim() -> None:
            worker = WorkerRecord(uuid4(), "driver", 0, (ALL,), 3600.0)
            gator.store.heartbeat(worker, first=True)
            connection.drain(ALL, worker.id)
            gator.store.leave(worker.id, holds=False)

        for name, subject, checkpoint in (
            ("small", SMALL, False),
            ("1.5 kB", LARGE, False),
            ("small, checkpoint between", SMALL, True),
        ):
            life = partial(_life, connection, number, subject, checkpoint)
            found = interleave(
                1 if quick else 3,
                {"map and Worker": partial(life, enqueue, work), RAW: partial(life, insert, claim)},
                warm_up=False,
            )
            measurements += [
                Measurement(f"{name}: {phase}", "bytes/task", samples, RAW)
                for phase, samples in by_key(found).items()
            ]
    return measurements


def _life(
    connection: raw.Raw,
    number: int,
    subject: str,
    checkpoint: bool,
    enqueue: Callable[[int, str], None],
    drain: Callable[[], None],
) -> dict[str, float]:
    """Return the bytes of log per task.

    The first change of a page after a checkpoint logs the whole page. Two warm-ups around a
    checkpoint leave none of that to the measurement, unless ``checkpoint`` asks for another
    one while the queue is full, which is the worst moment.
    """
    connection.clear()
    enqueue(WARM_UP, subject)
    drain()
    connection.execute("checkpoint", {})
    enqueue(WARM_UP, subject)
    drain()
    start = _position(connection)
    enqueue(number, subject)
    full = _position(connection)
    if checkpoint:
        connection.execute("checkpoint", {})
    drain()
    end = _position(connection)
    return {
        "enqueue": (full - start) / number,
        "claim and ack": (end - full) / number,
        "whole life": (end - start) / number,
    }


def _position(connection: raw.Raw) -> int:
    return int(connection.execute("select pg_current_wal_insert_lsn() - '0/0'", {})[0][0])
