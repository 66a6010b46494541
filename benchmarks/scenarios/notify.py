"""Whether notifications slow down producers: PostgreSQL sends them one commit after the other."""

from collections.abc import Callable
from contextlib import closing
from functools import partial
from threading import Thread

import psycopg
from sqlalchemy.orm import Session

from alligator_sql import Gator
from alligator_sql.backends.sql import engines

from .. import processes
from ..peers.tasks import deliver, mail
from ..run import Run
from ..servers import Store
from ..stats import Measurement, interleave

PROCESSES = 4
THREADS = 16
"""Clients of each process; in a quick run there are fewer."""
QUICK_THREADS = 4
LATER = 60
"""Seconds: a task that is due so much later notifies nobody."""


def measure(store: Store, run: Run) -> list[Measurement]:
    """Compare clients that enqueue what is due with others, whose tasks are due later."""
    number = 5 if run.quick else 200
    threads = QUICK_THREADS if run.quick else THREADS
    measurements = []
    with store.database() as dsn:
        for name, client in (
            ("gator.task", alone),
            ("in a Session", in_session),
            ("in a transaction", joined),
        ):
            samples = interleave(
                1 if run.quick else 5,
                {
                    "with notifications": partial(_rate, dsn, client, 0, threads, number),
                    "without": partial(_rate, dsn, client, LATER, threads, number),
                },
                warm_up=not run.quick,
            )
            title = f"{PROCESSES * threads} clients, {name}"
            measurements.append(Measurement(title, "commits/s", samples, "without"))
    return measurements


def alone(dsn: str, delay: int, number: int) -> None:
    """Enqueue tasks, each with its own commit."""
    with closing(Gator(dsn)) as gator, gator.options(delay_by=delay) as options:
        for each in range(number):
            options.task(deliver, mail(each))


def joined(dsn: str, delay: int, number: int) -> None:
    """Enqueue tasks, each in a transaction of the caller."""
    engine = engines.create(dsn, limited=False)
    with closing(Gator(engine=engine)) as gator:
        for each in range(number):
            with (
                engine.begin() as connection,
                gator.using(connection).options(delay_by=delay) as options,
            ):
                options.task(deliver, mail(each))
    engine.dispose()


def in_session(dsn: str, delay: int, number: int) -> None:
    """Enqueue tasks, each in a Session of the caller."""
    engine = engines.create(dsn, limited=False)
    with closing(Gator(engine=engine)) as gator:
        for each in range(number):
            with (
                Session(engine) as session,
                session.begin(),
                gator.using(session).options(delay_by=delay) as options,
            ):
                options.task(deliver, mail(each))
    engine.dispose()


def clients(
    dsn: str,
    wait_for_start: Callable[[], None],
    *,
    client: Callable[[str, int, int], None],
    delay: int,
    threads: int,
    number: int,
) -> None:
    """Be several clients, each with a thread and a connection of its own."""
    team = [Thread(target=client, args=(dsn, delay, number)) for _ in range(threads)]
    wait_for_start()
    for thread in team:
        thread.start()
    for thread in team:
        thread.join()


def _rate(
    dsn: str, client: Callable[[str, int, int], None], delay: int, threads: int, number: int
) -> float:
    """Return commits per second, by the times that the database stored."""
    role = partial(clients, client=client, delay=delay, threads=threads, number=number)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("truncate alligator_tasks, alligator_payloads")
        processes.run(role, dsn, PROCESSES)
        found = connection.execute(
            "select count(*), extract(epoch from max(created_at) - min(created_at))::float8"
            " from alligator_tasks"
        ).fetchall()
    stored, seconds = found[0]
    if stored != (expected := PROCESSES * threads * number):
        raise RuntimeError(f"{stored} of {expected} tasks were stored")
    return float(stored / seconds)
