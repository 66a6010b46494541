"""A snapshot that somebody holds: none of the dead rows since then can be removed."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from ...draining import work_off
from ...peers.contenders import OURS
from .case import Case, enqueue


@contextmanager
def held(dsn: str) -> Iterator[None]:
    """Hold a snapshot during the block."""
    with psycopg.connect(dsn) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.execute("select count(*) from pg_class")
        yield


@contextmanager
def prepare(dsn: str, size: int) -> Iterator[None]:
    """Hold a snapshot, and work off tasks whose dead rows stay."""
    with held(dsn):
        enqueue(dsn, size, size)
        work_off(dsn, OURS, 1, size)
        yield


CASE = Case("a snapshot held over {:,} tasks", 200_000, 2_000, prepare)
