"""Whether notifications slow down producers: PostgreSQL sends them one commit after the other."""

from collections.abc import Callable
from contextlib import closing
from functools import partial
from threading import Thread

import psycopg
from sqlalchemy import create_engine, make_url
from sqlalchemy.orm import Session

from alligator_sql import Gator

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


class Application:
    """What the threads of one process share.

    Attributes:
        dsn: Where the tasks are stored.
        engine: Its engine, with a connection for each thread.
        gator: Its gator, on that engine.
    """

    def __init__(self, dsn: str, threads: int) -> None:
        url = make_url(dsn).set(drivername="postgresql+psycopg")
        self.dsn = dsn
        self.engine = create_engine(url, pool_size=threads)
        self.gator = Gator(engine=self.engine)


Client = Callable[[Application, int, int], None]


def alone(application: Application, delay: int, number: int) -> None:
    """Enqueue tasks, each with its own commit, by a gator of its own."""
    with closing(Gator(application.dsn)) as gator, gator.options(delay_by=delay) as options:
        for each in range(number):
            options.task(deliver, mail(each))


def in_session(application: Application, delay: int, number: int) -> None:
    """Enqueue tasks, each in a Session."""
    for each in range(number):
        with Session(application.engine) as session, session.begin():
            view = application.gator.using(session)
            view.options(delay_by=delay).task(deliver, mail(each))


def joined(application: Application, delay: int, number: int) -> None:
    """Enqueue tasks, each in the transaction of a Connection."""
    for each in range(number):
        with application.engine.begin() as connection:
            view = application.gator.using(connection)
            view.options(delay_by=delay).task(deliver, mail(each))


def clients(
    dsn: str,
    wait_for_start: Callable[[], None],
    *,
    client: Client,
    delay: int,
    threads: int,
    number: int,
) -> None:
    """Be several clients, each with a thread and a connection of its own."""
    application = Application(dsn, threads)
    team = [Thread(target=client, args=(application, delay, number)) for _ in range(threads)]
    wait_for_start()
    for thread in team:
        thread.start()
    for thread in team:
        thread.join()
    application.engine.dispose()


def _rate(dsn: str, client: Client, delay: int, threads: int, number: int) -> float:
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
