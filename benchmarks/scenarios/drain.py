"""A full queue of tasks that do nothing, worked off by real processes."""

from collections.abc import Callable
from contextlib import closing
from functools import partial
from uuid import uuid4

from sqlalchemy import func, select

from alligator_sql import ALL, Gator, Worker
from alligator_sql.backends.sql import engines
from alligator_sql.backends.sql.tables import Names, build
from alligator_sql.messages import WorkerRecord

from .. import processes, raw
from ..peers.tasks import deliver, mail
from ..servers import Store
from ..stats import Measurement, interleave

RAW = "driver: claim and ack by 100"


def measure(store: Store, quick: bool) -> list[Measurement]:
    """Compare workers with processes that claim and acknowledge and run nothing."""
    number = 2_000 if quick else 30_000
    roles: dict[str, processes.Role] = {"Worker": partial(work, concurrency=1), RAW: claim}
    if not quick:
        roles["Worker, concurrency=8"] = partial(work, concurrency=8)
    measurements = []
    with store.database() as dsn:
        for workers in (1, 2):
            contenders: dict[str, Callable[[], float]] = {
                name: partial(_rate, dsn, role, workers, number) for name, role in roles.items()
            }
            samples = interleave(1 if quick else 5, contenders, warm_up=not quick)
            name = f"{workers} process{'es' if workers > 1 else ''}"
            measurements.append(Measurement(name, "tasks/s", samples, RAW))
    return measurements


def work(dsn: str, wait_for_start: Callable[[], None], *, concurrency: int) -> None:
    """Be a worker until the queue is empty."""
    with closing(Gator(dsn)) as gator:
        worker = Worker(gator, burst=True, concurrency=concurrency)
        gator.open()
        wait_for_start()
        worker.run_forever()


def claim(dsn: str, wait_for_start: Callable[[], None]) -> None:
    """Claim and acknowledge until the queue is empty."""
    worker = WorkerRecord(uuid4(), "driver", 0, (ALL,), 3600.0)
    with closing(Gator(dsn)) as gator, closing(raw.connect(dsn)) as connection:
        gator.store.heartbeat(worker, first=True)
        wait_for_start()
        connection.drain(ALL, worker.id)
        gator.store.leave(worker.id, holds=False)


def _rate(dsn: str, role: processes.Role, workers: int, number: int) -> float:
    """Return tasks per second from the first claim to the last acknowledgement.

    The times are those that the database stored, so it does not matter how long a process
    takes to start.
    """
    with closing(raw.connect(dsn)) as connection:
        connection.clear()
    with closing(Gator(dsn)) as gator:
        gator.map(deliver, (mail(each) for each in range(number)))
    processes.run(role, dsn, workers)
    finished = build(Names()).finished
    times = select(func.min(finished.c.started_at), func.max(finished.c.finished_at), func.count())
    engine = engines.create(dsn)
    with engine.connect() as connection:
        first, last, ended = connection.execute(times).one()
    engine.dispose()
    if ended != number:
        raise RuntimeError(f"{ended} of {number} tasks ended")
    seconds: float = (last - first).total_seconds()
    return number / seconds
