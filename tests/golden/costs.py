"""The golden file of costs: what tasks take of PostgreSQL, in counts and not in time.

Run ``python -m tests.golden.regenerate costs`` after a cost has changed on purpose.
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg

from alligator_sql import Gator, Worker
from tests.postgres_servers import PostgresServer

COMMAND = "python -m tests.golden.regenerate costs"
PATH = Path(__file__).with_suffix(".json")
VERSION = 18
"""The server that is counted on."""
WARM_UP = 300

Costs = dict[str, float]
"""Statements, transactions and bytes of log, each for one task."""

_PREFIX = "log_line_prefix = '[%p] %v '"
_STATEMENT = re.compile(r"\[(\d+)\] (\S+) LOG:  (?:statement|execute [^:]+):")
"""Process and virtual transaction of a statement."""


@contextmanager
def counting_server() -> Iterator[PostgresServer]:
    """Run a server that logs every statement, and never a whole page or work of its own."""
    with closing(PostgresServer(VERSION)) as server:
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            for setting in (
                "autovacuum = off", "full_page_writes = off", "log_statement = 'all'", _PREFIX,
            ):  # fmt: skip
                connection.execute(f"alter system set {setting}".encode())
            connection.execute("select pg_reload_conf()")
        yield server


def measured(server: PostgresServer) -> dict[str, Costs]:
    """Return what each way to use the queue costs."""
    with (
        closing(Gator(server.dsn(server.create_database(server.upgraded)))) as gator,
        psycopg.connect(server.dsn(), autocommit=True) as observer,
    ):
        enqueue_one(gator, WARM_UP)
        for _ in range(2):  # on both sides of a checkpoint, after which hints log whole pages
            map_many(gator, WARM_UP)
            drain(gator)
            observer.execute("checkpoint")
        map_many(gator, WARM_UP)
        drain(gator)

        def costs(use: Callable[[], None], number: int) -> Costs:
            return _costs(server, observer, use, number)

        found = {
            "enqueue one": costs(lambda: enqueue_one(gator, 100), 100),
            "enqueue 10 in a transaction": costs(lambda: enqueue_joined(gator, 10), 10),
        }
        drain(gator)
        found["map of 1000"] = costs(lambda: map_many(gator, 1000), 1000)
        found["drain of 1000 by one worker"] = costs(lambda: drain(gator), 1000)
    return found


def notify_customer(order: int, address: str = "someone@example.com") -> None:
    """Do nothing: a small task, as most are."""


def enqueue_one(gator: Gator, number: int) -> None:
    """Enqueue tasks, each with its own commit; who is notified of them would depend on time."""
    with gator.options(delay_by=3600) as later:
        for order in range(number):
            later.task(notify_customer, order)


def enqueue_joined(gator: Gator, number: int) -> None:
    """Enqueue tasks one by one in a transaction of the caller."""
    with psycopg.connect(gator.conn_string) as connection:
        view = gator.using(connection)
        for order in range(number):
            view.task(notify_customer, order)


def map_many(gator: Gator, number: int) -> None:
    """Enqueue tasks by one call."""
    gator.map(notify_customer, range(number))


def drain(gator: Gator) -> None:
    """Run all tasks, from the start of a worker to its end."""
    Worker(gator, burst=True, log_level="WARNING").run_forever()


def _costs(
    server: PostgresServer,
    observer: "psycopg.Connection[tuple[int]]",
    use: Callable[[], None],
    number: int,
) -> Costs:
    said = server.log.stat().st_size
    start = _position(observer)
    use()
    end = _position(observer)
    statements, transactions = counted(server.log.read_text(encoding="utf-8")[said:], observer)
    return {
        "statements": round(statements / number, 3),
        "transactions": round(transactions / number, 3),
        "WAL bytes": round((end - start) / number),
    }


def counted(log: str, observer: "psycopg.Connection[tuple[int]]") -> tuple[int, int]:
    """Return how many statements and transactions a log tells of, without the observer's."""
    own = str(observer.info.backend_pid)
    found = [transaction for process, transaction in _STATEMENT.findall(log) if process != own]
    return len(found), len(set(found))


def _position(observer: "psycopg.Connection[tuple[int]]") -> int:
    asked = "select (pg_current_wal_insert_lsn() - '0/0')::int8"
    return observer.execute(asked).fetchall()[0][0]


def write() -> None:
    """Write the golden file."""
    with counting_server() as server:
        PATH.write_text(json.dumps(measured(server), indent=2) + "\n", encoding="utf-8")
