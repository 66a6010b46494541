"""Joining a transaction of the caller, whatever kind of connection it comes on.

Nothing here commits, rolls back or makes a savepoint.
"""

import sys
from enum import Enum
from functools import lru_cache
from typing import Any, TypeVar, cast

from sqlalchemy import Connection
from sqlalchemy.engine import TwoPhaseTransaction

from ...exceptions import Unsupported
from .dialects import Steps
from .driver import BEGIN, on_joined_driver
from .engines import begun, replanned
from .steps import adrive, drive, on_async_psycopg, on_psycopg, on_sqlalchemy, on_sqlite3

T = TypeVar("T")

SQLITE_BEGIN = BEGIN["sqlite"]
"""Begins what the sqlite3 module would begin with the first INSERT only. Before that come
the tables at the first use: a rollback would leave them half made. Immediate, because the
look at the catalog comes first: a transaction that has read may be unable to write."""
ACCEPTED = (
    "a SQLAlchemy Session, AsyncSession, Connection or AsyncConnection, a psycopg Connection or "
    "AsyncConnection, or a sqlite3.Connection"
)


class Kind(Enum):
    """What can be joined: a class, by its module, which may not be imported, and its name."""

    SESSION = "sqlalchemy.orm", "Session"
    SCOPED_SESSION = "sqlalchemy.orm", "scoped_session"
    CONNECTION = "sqlalchemy", "Connection"
    PSYCOPG = "psycopg", "Connection"
    SQLITE3 = "sqlite3", "Connection"
    ASYNC_SESSION = "sqlalchemy.ext.asyncio", "AsyncSession"
    ASYNC_SCOPED_SESSION = "sqlalchemy.ext.asyncio", "async_scoped_session"
    ASYNC_CONNECTION = "sqlalchemy.ext.asyncio", "AsyncConnection"
    ASYNC_PSYCOPG = "psycopg", "AsyncConnection"


SCOPED = {Kind.SCOPED_SESSION, Kind.ASYNC_SCOPED_SESSION}
ASYNC = {
    Kind.ASYNC_SESSION,
    Kind.ASYNC_SCOPED_SESSION,
    Kind.ASYNC_CONNECTION,
    Kind.ASYNC_PSYCOPG,
}


def is_async(connection: Any) -> bool:
    """Whether statements on ``connection`` have to be awaited.

    Raises:
        Unsupported: It is no connection that can be joined.
    """
    return kind_of(connection) in ASYNC


def unscoped(connection: Any) -> Any:
    """Return the session of the present scope for a scoped one, anything else as it is.

    Scoped sessions hand on only some of what a session has.
    """
    return connection() if kind_of(connection) in SCOPED else connection


def run(connection: Any, steps: Steps[T], dialect: str, *, begun_only: bool = False) -> T:
    """Run ``steps`` in the transaction of a synchronous ``connection`` to a ``dialect`` database.

    ``begun_only`` refuses a connection that has no transaction and would begin none, but
    commit each statement at once.

    Raises:
        Unsupported: It is asynchronous, or leads to another kind of database.
    """
    kind = kind_of(connection)
    if kind in ASYNC:
        raise Unsupported(f"{type(connection).__name__} is asynchronous: it has to be awaited.")
    if kind is Kind.SQLITE3:
        _check_dialect("sqlite", dialect)
        _check_transaction(connection)
        if not connection.in_transaction:
            connection.execute(SQLITE_BEGIN)
        return drive(steps, on_sqlite3(connection))
    if kind is Kind.PSYCOPG:
        _check_dialect("postgresql", dialect)
        if begun_only:
            _check_begun(connection)
        return drive(steps, on_psycopg(connection))
    joined = connection if kind is Kind.CONNECTION else connection.connection()
    _check_dialect(joined.dialect.name, dialect)
    if dialect == "sqlite":
        driver = begun(joined)
        _check_transaction(driver)
        if not driver.in_transaction:
            joined.exec_driver_sql(SQLITE_BEGIN)
    elif begun_only:
        _check_begun(joined.connection.driver_connection)
    quick = on_joined_driver(joined)
    if quick is not None:
        return drive(steps, quick)
    with replanned(joined):
        return drive(steps, on_sqlalchemy(joined))


async def arun(connection: Any, steps: Steps[T], dialect: str, *, begun_only: bool = False) -> T:
    """Do what :func:`run` does, on an asynchronous ``connection``."""
    if kind_of(connection) is Kind.ASYNC_PSYCOPG:
        _check_dialect("postgresql", dialect)
        if begun_only:
            _check_begun(connection)
        return await adrive(steps, on_async_psycopg(connection))
    joined = await connection.run_sync(run, steps, dialect, begun_only=begun_only)
    return cast(T, joined)


def can_notify(connection: Any) -> bool:
    """Whether NOTIFY is allowed: PostgreSQL refuses to prepare a transaction that used it."""
    sync = getattr(connection, "sync_session", getattr(connection, "sync_connection", connection))
    if isinstance(sync, Connection):
        return not isinstance(sync.get_transaction(), TwoPhaseTransaction)
    prepared_by_driver = getattr(sync, "_tpc", None) is not None  # psycopg tells it nowhere else
    return not prepared_by_driver and not getattr(sync, "twophase", False)


def kind_of(connection: Any) -> Kind:
    """Return what ``connection`` is.

    Raises:
        Unsupported: It is no connection that can be joined.
    """
    return _kind(connection.__class__)


@lru_cache(maxsize=256)
def _kind(cls: type[Any]) -> Kind:
    """Return what objects of ``cls`` are, which is asked for each task."""
    for kind in Kind:
        module, name = kind.value
        loaded = sys.modules.get(module)
        if loaded is not None and issubclass(cls, getattr(loaded, name)):
            return kind
    raise Unsupported(f"Cannot join the transaction of a {cls.__name__}. Give {ACCEPTED}.")


def _check_dialect(given: str, wanted: str) -> None:
    if given != wanted:
        raise Unsupported(
            f"The given connection leads to {given}, but the tasks are stored in {wanted}. Join a "
            "connection to the database of the queue."
        )


def _check_begun(connection: Any) -> None:
    """Refuse a psycopg connection on which a statement would stand alone."""
    if connection.autocommit and connection.info.transaction_status == 0:  # idle
        raise Unsupported(
            "The given PostgreSQL connection is in autocommit mode and has no transaction to join: "
            "begin one first."
        )


def _check_transaction(connection: Any) -> None:
    """Refuse what would commit a task before its payload, when a worker may take it."""
    autocommit = getattr(connection, "autocommit", -1)  # Python 3.12; -1 is the older way
    begins = connection.isolation_level is not None if autocommit == -1 else not autocommit
    if not begins and not connection.in_transaction:
        raise Unsupported(
            "The given SQLite connection is in autocommit mode and has no transaction to join: "
            "begin one first."
        )
