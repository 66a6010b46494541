"""The connection on which a process stores tasks in SQLite, below SQLAlchemy."""

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Engine

from .dialects import Steps, T
from .driver import BEGIN, as_sqlalchemy
from .engines import unpooled
from .steps import drive, on_sqlite3

if TYPE_CHECKING:
    import sqlite3

_forgotten: Final[list["sqlite3.Connection"]] = []
"""Connections of the parent of this process."""


class Writer:
    """Runs steps in transactions on a connection that no pool hands out.

    SQLite has one writer at a time, so one connection is enough. To take it from a pool, to
    begin, to commit and to put it back by SQLAlchemy takes longer than to store a task.

    Args:
        engine: An engine of ours, whose connections commit each statement.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._dialect: Any = engine.dialect
        self._idle: list[sqlite3.Connection] = []

    def run(self, steps: Steps[T]) -> T:
        """Run ``steps`` in a transaction, for one caller at a time.

        A connection is used again only if all went well on it: a task that is interrupted may
        leave anything. Closing it rolls back.

        Raises:
            DBAPIError: What the driver raises, as one of SQLAlchemy.
        """
        connection = None
        try:
            connection = self._taken()
            connection.execute(BEGIN["sqlite"])
            value = drive(steps, on_sqlite3(connection))
            connection.commit()
        except BaseException as error:
            if connection is not None:
                connection.close()
            if isinstance(error, self._dialect.loaded_dbapi.Error):
                raise as_sqlalchemy(self._dialect, error, connection) from error
            raise
        self._idle.append(connection)
        return value

    def _taken(self) -> "sqlite3.Connection":
        try:
            return self._idle.pop()
        except IndexError:
            return unpooled(self._engine)  # type: ignore[no-any-return]

    def close(self) -> None:
        """Close the connection, unless it is in use."""
        while self._idle:
            self._idle.pop().close()

    def forget(self) -> None:
        """Leave the connection to the parent process: it must not even be closed here."""
        _forgotten.extend(self._idle)
        self._idle = []
