"""COPY: the cheapest way into PostgreSQL, for many new tasks that are alike.

It has no ON CONFLICT and no SELECT, so it suits only tasks whose ids nobody can know and that
have no unique key. It reads the binary format: what differs between two tasks are 16 bytes of id
and a payload, neither has to be parsed by the server nor escaped by us, and all the rest of a row
is the same bytes for all. See ``docs/decisions/``.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from ...ids import shown
from ...messages import Message, Series
from . import engines
from .dialects import absolute, first_status, relative, tags_text
from .driver import reported
from .payloads import pack
from .tables import Names

if TYPE_CHECKING:
    import psycopg

BATCH = 5000
"""Tasks that are stored together at most. Each batch has its round trips and its commit, on which
the disk is waited for: with more of them at once that is hardly noticed any more."""
FEWEST = 100
"""Tasks that are worth the round trips: it takes eight with the notification, one statement
takes two."""
_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"
_NULL = b"\xff\xff\xff\xff"
_length = struct.Struct("!i").pack
_smallint = struct.Struct("!h").pack
_REFUSALS = (
    "23505",  # the unlikely id that is there already
    "0A000",  # row-level security, or a view or a proxy in the place of the table
)
"""SQLSTATEs that say that COPY cannot do what INSERT may be able to do."""


class RefusedError(Exception):
    """COPY cannot store these tasks. Nothing is stored once the transaction is rolled back."""


class Copier:
    """Copies tasks into the tables called by ``names``."""

    def __init__(self, names: Names) -> None:
        tasks, payloads = names.table("tasks"), names.table("payloads")
        self._tasks = (
            f"copy {tasks} (run_at, created_at, expires_at, priority, status, queue, func, tags, "
            "id) from stdin (format binary)"
        ).encode()
        self._payloads = f"copy {payloads} (id, payload) from stdin (format binary)".encode()
        # The server's clock decides, as for every other way to enqueue.
        self._moments = b"""
            select timestamptz_send(greatest(now(), coalesce(
                       to_timestamp(cast(%(run_at)s as float8)),
                       now() + make_interval(secs => cast(%(delay)s as float8))))),
                   timestamptz_send(now()),
                   timestamptz_send(coalesce(
                       to_timestamp(cast(%(expires_at)s as float8)),
                       now() + make_interval(secs => cast(%(expires_in)s as float8))))
        """

    def suits(self, series: Series) -> bool:
        """Whether to store these tasks here."""
        return len(series) >= FEWEST and series.model.unique_key is None

    def copy(self, connection: Connection, series: Series) -> None:
        """Store tasks in the transaction of ``connection``.

        Raises:
            RefusedError: They need another way, in another transaction.
            DBAPIError: The database has trouble.
        """
        import psycopg

        driver = engines.begun(connection)
        try:
            self._copy(driver, series)
        except psycopg.Error as error:
            if error.sqlstate in _REFUSALS:
                raise RefusedError(str(error)) from error
            raise reported(connection, error) from error

    def _copy(self, driver: "psycopg.Connection[Any]", series: Series) -> None:
        from psycopg.rows import tuple_row

        model, encoding = series.model, driver.info.encoding
        with driver.cursor(row_factory=tuple_row) as cursor:
            cursor.execute(
                self._moments,
                {
                    "run_at": absolute(model.due),
                    "delay": relative(model.due),
                    "expires_at": absolute(model.expires),
                    "expires_in": relative(model.expires),
                },
            )
            [moments] = cursor.fetchall()
            shared = _shared(model, moments, encoding)
            for statement, rows in (
                (self._tasks, _tasks(series, shared)),
                (self._payloads, _payloads(series, encoding)),
            ):
                with cursor.copy(statement) as copy:
                    copy.write(b"".join(rows))
                if cursor.rowcount != len(series):  # so says a trigger
                    raise RefusedError(f"{len(series) - cursor.rowcount} rows were left out")


def _tasks(series: Series, shared: bytes) -> Iterator[bytes]:
    yield _HEADER
    for task_id in series.ids:
        yield shared
        yield task_id
    yield _TRAILER


def _shared(model: Message, moments: Sequence[bytes | None], encoding: str) -> bytes:
    """Return the beginning of each row of tasks, until after the length of its id."""
    tags = tags_text(model)
    fields = [
        *moments,
        _smallint(model.priority),
        _smallint(first_status(model)),
        model.queue.encode(encoding),
        model.func.encode(encoding),
        None if tags is None else tags.encode(encoding),
    ]
    return _smallint(len(fields) + 1) + b"".join(map(_field, fields)) + _length(16)


def _payloads(series: Series, encoding: str) -> Iterator[bytes]:
    start = _smallint(2) + _length(16)
    yield _HEADER
    for task_id, payload in zip(series.ids, series.payloads, strict=True):
        text = pack(payload, shown(task_id), series.model.func).encode(encoding)
        yield start
        yield task_id
        yield _length(len(text))
        yield text
    yield _TRAILER


def _field(value: bytes | None) -> bytes:
    return _NULL if value is None else _length(len(value)) + value
