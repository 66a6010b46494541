"""Our statements on the driver's own connection, below SQLAlchemy.

SQLAlchemy needs longer to execute a statement of ours than psycopg needs to send it and to
read its rows. So statements of the hot path, which are text anyway, go past it.
"""

import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from .dialects import Execute, ExecuteTogether, Parameters, Rows, Statement
from .engines import begun, leads_to_standby
from .steps import has_rows, on_psycopg, on_sqlite3, psycopg_sql

PLAN_ONCE = """
    select set_config('plan_cache_mode', 'force_generic_plan', true),
           set_config('enable_seqscan', 'off', true), set_config('enable_sort', 'off', true)
"""
"""Lets PostgreSQL keep the plan of a statement, until the end of the transaction.

To plan a claim takes it three times as long as to carry it out for a few tasks. The tables may have
been empty when it made the plan: then, without this, it would read and sort all of them.
"""


BEGIN = {
    "postgresql": "begin isolation level read committed",
    # At once: a transaction that reads first cannot wait for the write lock later.
    "sqlite": "begin immediate",
}
"""Begins a transaction on a connection that commits each statement otherwise."""


def begin(connection: Connection) -> None:
    """Begin a transaction that writes on ``connection``, which is ours."""
    driver = begun(connection)
    dialect = connection.dialect
    try:
        driver.execute(BEGIN[dialect.name])
    except dialect.loaded_dbapi.Error as error:
        raise reported(connection, error) from error


def on_driver(connection: Connection) -> Execute:
    """Return what executes on the driver's connection below ``connection``, which is ours."""
    driver: Any = connection.connection.driver_connection
    is_sqlite = connection.dialect.name == "sqlite"
    return _reporting(connection, on_sqlite3(driver) if is_sqlite else _on_session(driver))


def on_joined_driver(connection: Connection) -> Execute | None:
    """Return what executes on psycopg below ``connection`` of an application.

    None when somebody would miss our statements: who listens to SQLAlchemy's, or reads its log.
    Then, and with all other drivers, they go by SQLAlchemy.
    """
    driver: Any = connection.connection.driver_connection
    events, wire = connection.dispatch, connection.dialect.dispatch
    is_watched = (
        events.before_execute
        or events.after_execute
        or events.before_cursor_execute
        or events.after_cursor_execute
        or wire.do_execute
        or wire.handle_error
    )
    if not is_psycopg(driver) or is_watched or connection.engine.echo:
        return None
    begun(connection)
    return _reporting(connection, on_psycopg(driver), is_ours=False)


def is_psycopg(driver: Any) -> bool:
    """Whether ``driver`` is a connection of psycopg, which nobody may have imported yet."""
    psycopg = sys.modules.get("psycopg")
    return psycopg is not None and isinstance(driver, psycopg.Connection)


def on_idle_driver(connection: Connection) -> Execute:
    """Return what executes on psycopg below ``connection``, between its transactions.

    Each statement commits itself. After one that fails the connection is given up.
    """
    driver: Any = connection.connection.driver_connection
    autocommit = driver.autocommit
    execute_alone = on_psycopg(driver)

    def execute(sql: str, parameters: Parameters) -> Rows:
        try:
            driver.autocommit = True
            rows = execute_alone(sql, parameters)
            driver.autocommit = autocommit
        except driver.Error as error:
            translated = as_sqlalchemy(connection.dialect, error, driver, is_ours=False)
            connection.invalidate(error)
            raise translated from error
        except BaseException:
            connection.invalidate()
            raise
        return rows

    return execute


def _reporting(connection: Connection, execute: Execute, *, is_ours: bool = True) -> Execute:
    """Let ``execute`` raise what SQLAlchemy would raise."""
    error_class = connection.dialect.loaded_dbapi.Error

    def reporting(sql: str, parameters: Parameters) -> Rows:
        try:
            return execute(sql, parameters)
        except error_class as error:
            raise reported(connection, error, is_ours=is_ours) from error

    return reporting


def can_pipeline() -> bool:
    """Whether the client library of PostgreSQL can send statements without waiting: from 14 on."""
    from psycopg import Pipeline

    return Pipeline.is_supported()


def pipelined(connection: Connection, planned_once: Collection[str]) -> ExecuteTogether:
    """Return what executes statements on ``connection`` of PostgreSQL in one round trip.

    They are one transaction, without a BEGIN and a COMMIT that would be round trips, too. After
    each of those the thread that talks to the store waits for its turn among the others.
    """
    session: Any = connection.connection.driver_connection
    keeps_plans = session.prepare_threshold is not None

    def execute(statements: Sequence[Statement]) -> list[Rows]:
        try:
            with session.pipeline(), _closed_by_interruptions(session):
                cursors = []
                for sql, parameters in statements:
                    if sql in planned_once and keeps_plans:
                        session.execute(PLAN_ONCE)
                    cursors.append(session.execute(psycopg_sql(sql), parameters))
            return [cursor.fetchall() for cursor in cursors]
        except session.Error as error:
            raise reported(connection, error) from error
        except IndexError as error:  # the driver's, when the commit itself is refused
            session.close()
            refused = session.OperationalError("the commit was refused")
            raise reported(connection, refused) from error

    return execute


@contextmanager
def _closed_by_interruptions(session: Any) -> Iterator[None]:
    """Close ``session`` when the task that uses it is interrupted: its pipeline cannot end then."""
    try:
        yield
    except session.Error:
        raise
    except BaseException:
        session.close()
        raise


def _on_session(session: Any) -> Execute:
    def execute(sql: str, parameters: Parameters) -> Rows:
        cursor = session.execute(psycopg_sql(sql), parameters)
        return cursor.fetchall() if has_rows(cursor) else []

    return execute


def reported(connection: Connection, error: Any, *, is_ours: bool = True) -> DBAPIError:
    """Return ``error`` as one of SQLAlchemy, and give up a connection that is lost.

    One of ours is, too, when it leads to a standby by now.
    """
    driver: Any = connection.connection.driver_connection
    translated = as_sqlalchemy(connection.dialect, error, driver, is_ours=is_ours)
    if translated.connection_invalidated:
        connection.invalidate(error)
    return translated


def as_sqlalchemy(dialect: Any, error: Any, driver: Any, *, is_ours: bool = True) -> DBAPIError:
    """Return ``error`` on the connection ``driver`` as SQLAlchemy would raise it."""
    translated: DBAPIError = DBAPIError.instance(
        "",
        None,
        error,
        dialect.loaded_dbapi.Error,
        hide_parameters=True,
        connection_invalidated=(
            dialect.is_disconnect(error, driver, None) or (is_ours and leads_to_standby(error))
        ),
        dialect=dialect,
    )
    return translated
