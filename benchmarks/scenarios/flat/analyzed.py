"""A burst of tasks in a table that the planner knows as an empty one."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from alligator_sql.backends.sql.tables import Names, build

from .case import Case


@contextmanager
def prepare(dsn: str, size: int) -> Iterator[None]:  # noqa: ARG001
    """Let nobody analyze the tables but the benchmark."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        for table in build(Names()).metadata.tables.values():
            connection.execute(f"alter table {table.name} set (autovacuum_enabled = off)".encode())
    yield


CASE = Case("a burst, analyzed when empty", prepare=prepare, analyzed_empty=True)
