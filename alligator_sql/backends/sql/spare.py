"""A connection of the driver that no pool hands out, for what is done for each task.

To take a connection from a pool, to wrap it and to put it back by SQLAlchemy takes longer than to
store a task.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, TypeVar

from sqlalchemy import Engine

from .driver import as_sqlalchemy
from .engines import unpooled

T = TypeVar("T")
_forgotten: Final[list[Any]] = []
"""Connections of the parent of this process."""


class Spare:
    """Keeps one connection of ``engine``, which is ours: it commits each statement."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._dialect: Any = engine.dialect
        self._idle: list[Any] = []
        self._closings = 0

    def use(self, work: Callable[[Any], T]) -> T:
        """Return what ``work`` returns with the connection, or with a new one if that is in use.

        It is used again only if all went well on it: a task that is interrupted may leave
        anything.

        Raises:
            DBAPIError: What the driver raises, as one of SQLAlchemy.
        """
        connection, closings = None, self._closings
        try:
            connection = self._taken()
            value = work(connection)
        except self._dialect.loaded_dbapi.Error as error:
            translated = as_sqlalchemy(self._dialect, error, connection)
            if connection is not None:
                connection.close()
            raise translated from error
        except BaseException:
            if connection is not None:
                connection.close()
            raise
        if self._idle or closings != self._closings:
            connection.close()
        else:
            self._idle.append(connection)
        return value

    def close(self) -> None:
        """Close the connection; one that is in use is closed after that."""
        self._closings += 1
        with suppress(IndexError):
            while True:
                self._idle.pop().close()

    def forget(self) -> None:
        """Leave the connection to the parent process: it must not even be closed here."""
        _forgotten.extend(self._idle)
        self._idle = []

    def _taken(self) -> Any:
        try:
            return self._idle.pop()
        except IndexError:
            return self._opened()

    def _opened(self) -> Any:
        return unpooled(self._engine)
