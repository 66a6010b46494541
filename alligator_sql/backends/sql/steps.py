"""Running steps: one definition of a statement sequence, on every kind of connection."""

from collections.abc import Awaitable, Callable
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import URL, Connection, TextClause, text

from .dialects import Execute, ExecuteTogether, Parameters, Rows, Steps

if TYPE_CHECKING:
    import sqlite3

    import psycopg

T = TypeVar("T")
U = TypeVar("U")


def drive(steps: Steps[T], execute: Execute, rows: Rows | None = None) -> T:
    """Run ``steps`` with ``execute`` and return what they return.

    Steps that have yielded a statement already go on with its ``rows``.
    """
    try:
        while True:
            rows = execute(*steps.send(rows))  # type: ignore[arg-type]
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]


def drive_both(one: Steps[T], other: Steps[U], together: ExecuteTogether) -> tuple[T, U]:
    """Run ``one`` and ``other``, whose first statements are executed together."""
    execute = alone(together)
    first = next(one)
    try:
        second = next(other)
    except StopIteration as stop:
        return drive(one, execute, execute(*first)), stop.value
    rows = together([first, second])
    return drive(one, execute, rows[0]), drive(other, execute, rows[1])


def alone(together: ExecuteTogether) -> Execute:
    """Return what executes one statement."""

    def execute(sql: str, parameters: Parameters) -> Rows:
        return together([(sql, parameters)])[0]

    return execute


async def adrive(steps: Steps[T], execute: Callable[[str, Parameters], Awaitable[Rows]]) -> T:
    """Do what :func:`drive` does, on an asynchronous connection."""
    try:
        statement = next(steps)
        while True:
            statement = steps.send(await execute(*statement))
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]


def on_sqlalchemy(connection: Connection) -> Execute:
    """Return what executes on a SQLAlchemy connection."""

    def execute(sql: str, parameters: Parameters) -> Rows:
        result = connection.execute(_clause(sql), parameters)
        return result.fetchall() if result.returns_rows else []

    return execute


def on_psycopg(connection: "psycopg.Connection[Any]") -> Execute:
    """Return what executes on a psycopg connection, whatever its row factory is."""
    from psycopg.rows import tuple_row

    def execute(sql: str, parameters: Parameters) -> Rows:
        with connection.cursor(row_factory=tuple_row) as cursor:
            cursor.execute(psycopg_sql(sql), parameters, prepare=False)  # see engines.replanned()
            return cursor.fetchall() if has_rows(cursor) else []

    return execute


def on_async_psycopg(
    connection: "psycopg.AsyncConnection[Any]",
) -> Callable[[str, Parameters], Awaitable[Rows]]:
    """Return what executes on an asynchronous psycopg connection."""
    from psycopg.rows import tuple_row

    async def execute(sql: str, parameters: Parameters) -> Rows:
        async with connection.cursor(row_factory=tuple_row) as cursor:
            await cursor.execute(psycopg_sql(sql), parameters, prepare=False)
            return await cursor.fetchall() if has_rows(cursor) else []

    return execute


def has_rows(cursor: "psycopg.Cursor[Any] | psycopg.AsyncCursor[Any]") -> bool:
    """Whether there are rows to fetch. ``cursor.description`` would describe each column first."""
    result = cursor.pgresult
    return result is not None and result.nfields > 0


def on_sqlite3(connection: "sqlite3.Connection") -> Execute:
    """Return what executes on a sqlite3 connection, whatever its row factory is."""

    def execute(sql: str, parameters: Parameters) -> Rows:
        cursor = connection.cursor()
        cursor.row_factory = None
        return cursor.execute(sql, parameters).fetchall()

    return execute


@cache
def _clause(sql: str) -> TextClause:
    return text(sql)


@cache
def psycopg_sql(sql: str) -> bytes:
    """Return ``sql`` with its parameters as psycopg writes them."""
    dialect = URL.create("postgresql+psycopg").get_dialect()()
    return str(text(sql).compile(dialect=dialect)).encode()
