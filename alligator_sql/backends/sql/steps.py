"""Running steps: one definition of a statement sequence, on every kind of connection."""

from collections.abc import Awaitable, Callable
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import URL, Connection, TextClause, text

from .dialects import Parameters, Rows, Steps

if TYPE_CHECKING:
    import sqlite3

    import psycopg

T = TypeVar("T")


def drive(steps: Steps[T], execute: Callable[[str, Parameters], Rows]) -> T:
    """Run ``steps`` with ``execute`` and return what they return."""
    try:
        statement = next(steps)
        while True:
            statement = steps.send(execute(*statement))
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]


async def adrive(steps: Steps[T], execute: Callable[[str, Parameters], Awaitable[Rows]]) -> T:
    """Do what :func:`drive` does, on an asynchronous connection."""
    try:
        statement = next(steps)
        while True:
            statement = steps.send(await execute(*statement))
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]


def on_sqlalchemy(connection: Connection) -> Callable[[str, Parameters], Rows]:
    """Return what executes on a SQLAlchemy connection."""

    def execute(sql: str, parameters: Parameters) -> Rows:
        result = connection.execute(_clause(sql), parameters)
        return result.fetchall() if result.returns_rows else []

    return execute


def on_psycopg(connection: "psycopg.Connection[Any]") -> Callable[[str, Parameters], Rows]:
    """Return what executes on a psycopg connection, whatever its row factory is."""
    from psycopg.rows import tuple_row

    def execute(sql: str, parameters: Parameters) -> Rows:
        with connection.cursor(row_factory=tuple_row) as cursor:
            cursor.execute(_psycopg_sql(sql), parameters, prepare=False)  # see engines.replanned()
            return cursor.fetchall() if cursor.description else []

    return execute


def on_async_psycopg(
    connection: "psycopg.AsyncConnection[Any]",
) -> Callable[[str, Parameters], Awaitable[Rows]]:
    """Return what executes on an asynchronous psycopg connection."""
    from psycopg.rows import tuple_row

    async def execute(sql: str, parameters: Parameters) -> Rows:
        async with connection.cursor(row_factory=tuple_row) as cursor:
            await cursor.execute(_psycopg_sql(sql), parameters, prepare=False)
            return await cursor.fetchall() if cursor.description else []

    return execute


def on_sqlite3(connection: "sqlite3.Connection") -> Callable[[str, Parameters], Rows]:
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
def _psycopg_sql(sql: str) -> bytes:
    dialect = URL.create("postgresql+psycopg").get_dialect()()
    return str(text(sql).compile(dialect=dialect)).encode()
