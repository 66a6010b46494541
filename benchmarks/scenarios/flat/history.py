"""A long history of finished tasks."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from alligator_sql.backends.sql.tables import Names, build

from ...draining import work_off
from ...peers.contenders import OURS
from .case import Case, enqueue

ENDED = 10


@contextmanager
def prepare(dsn: str, size: int) -> Iterator[None]:
    """Let tasks end, and multiply the row of one."""
    enqueue(dsn, size, ENDED)
    work_off(dsn, OURS, 1, ENDED)
    finished = build(Names()).finished
    others = ", ".join(column.name for column in finished.columns if column.name != "id")
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            f"insert into {finished.name} (id, {others})"
            f" select gen_random_uuid(), {others}"
            f" from (select * from {finished.name} limit 1), generate_series(1, %s)",
            (size,),
        )
        connection.execute(f"vacuum (analyze) {finished.name}".encode())
    yield


CASE = Case("{:,} finished tasks", 10_000_000, 10_000, prepare)
