"""What enqueueing adds to a transaction of the application."""

from collections.abc import Callable
from contextlib import closing
from time import perf_counter
from typing import Any

from sqlalchemy.orm import Session

from alligator_sql import Gator
from alligator_sql.backends.sql import engines
from alligator_sql.backends.sql.dialects import Parameters, Rows
from alligator_sql.backends.sql.steps import drive

from .. import raw
from ..peers.tasks import deliver, mail
from ..run import Run
from ..servers import Store
from ..stats import Measurement, Samples, interleave
from ..tasks import prepared

ALONE = "its statements alone"


def measure(store: Store, run: Run) -> list[Measurement]:
    """Compare ``gator.using(…).task`` with executing its statements on the driver.

    The difference is the Python time of this package, and of SQLAlchemy where it is used.
    """
    number = 100 if run.quick else 2000
    with (
        store.database() as dsn,
        closing(Gator(dsn)) as gator,
        closing(raw.connect(dsn)) as connection,
    ):
        gator.open()
        engine = engines.create(dsn, limited=False)

        def enqueue(joined: Any) -> float:
            view = gator.using(joined)
            started = perf_counter()
            for each in range(number):
                view.task(deliver, mail(each))
            return (perf_counter() - started) / number * 1e6

        def on_session() -> float:
            connection.clear()
            with Session(engine) as session, session.begin():
                return enqueue(session)

        def on_driver() -> float:
            connection.clear()
            with connection.transaction():
                return enqueue(connection.connection)

        def alone() -> float:
            statements = _statements(connection, gator, number)
            connection.clear()
            with connection.transaction():
                started = perf_counter()
                for sql, parameters in statements:
                    connection.execute(sql, parameters)
                return (perf_counter() - started) / number * 1e6

        contenders: dict[str, Callable[[], float]] = {
            "in a Session": on_session,
            "on a driver connection": on_driver,
            ALONE: alone,
        }
        samples = interleave(3 if run.quick else 7, contenders)
        engine.dispose()
    added: Samples = {
        contender: [ours - raw for ours, raw in zip(values, samples[ALONE], strict=True)]
        for contender, values in samples.items()
        if contender != ALONE
    }
    return [
        Measurement("time per task", "µs", samples, ALONE),
        Measurement("of it Python", "µs", added),
    ]


def _statements(connection: raw.Raw, gator: Gator, number: int) -> list[tuple[str, Parameters]]:
    """Enqueue once and return the statements that it took, to execute them again."""
    statements: list[tuple[str, Parameters]] = []

    def record(sql: str, parameters: Parameters) -> Rows:
        statements.append((sql, parameters))
        return connection.execute(sql, parameters)

    with connection.transaction():
        for message in prepared(gator, number):
            drive(connection.dialect.enqueue([message], raw.channel(message.queue)), record)
    return statements
