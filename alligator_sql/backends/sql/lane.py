"""The fast lane: the session on which a process stores single tasks in PostgreSQL.

To take a connection from SQLAlchemy's pool, to execute on it and to put it back takes as long as
all the rest that Python does for a task. And a third of what the server does is planning,
though the statement has no choice: but that a session keeps its plans goes for all that is executed
on it. So one session does nothing else.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, cast

from sqlalchemy import Engine

from ...messages import Message
from . import single
from .connections import at_fork
from .dialects import Execute, Parameters, Rows
from .driver import as_sqlalchemy
from .engines import unpooled
from .steps import psycopg_sql
from .tables import Names

if TYPE_CHECKING:
    from .sessions import Session

_KEEP_PLANS = "select set_config('plan_cache_mode', 'force_generic_plan', false)"
_forgotten: Final[list["Session"]] = []
"""Sessions of the parent of this process."""


class Lane:
    """One session that no pool hands out, for one thread at a time.

    Args:
        engine: An engine of ours.
        names: The names of the tables.
    """

    def __init__(self, engine: Engine, names: Names) -> None:
        self._engine = engine
        self._names = names
        self._free: list[Session | None] = [None]
        at_fork(in_child=self._forget)

    def insert(self, message: Message, announce: Callable[[Execute], object] | None) -> bool:
        """Store ``message``, which no unique key can exclude, and ``announce`` it.

        Returns:
            False when nothing was stored: the task is known, or somebody else is on the lane.

        Raises:
            DBAPIError: What the driver raises, as one of SQLAlchemy.
        """
        try:
            session = self._free.pop()
        except IndexError:
            return False
        try:
            if session is None:
                session = self._opened()
            execute = partial(self._execute, session)
            is_new = bool(execute(*single.statement(self._names, message, None)))
            if is_new and announce is not None:
                announce(execute)
        except BaseException:  # a task that is interrupted may leave anything
            self._give_up(session)
            raise
        if session.is_at_rest():
            self._free.append(session)
        else:
            self._give_up(session)
        return is_new

    def _give_up(self, session: "Session | None") -> None:
        if session is not None:
            session.close()
        self._free.append(None)

    def close(self) -> None:
        """Close the session, unless it is in use."""
        while self._free:
            session = self._free.pop()
            if session is not None:
                session.close()
        self._free.append(None)

    def _forget(self) -> None:
        """Leave the session to the parent process."""
        _forgotten.extend(session for session in self._free if session is not None)
        self._free = [None]

    def _opened(self) -> "Session":
        try:
            session = cast("Session", unpooled(self._engine))
        except self._engine.dialect.loaded_dbapi.Error as error:
            raise as_sqlalchemy(self._engine.dialect, error, None) from error
        if session.prepare_threshold is not None:
            self._execute(session, _KEEP_PLANS, {})
        return session

    def _execute(self, session: "Session", sql: str, parameters: Parameters) -> Rows:
        try:
            return session.execute(psycopg_sql(sql), parameters).fetchall()
        except session.Error as error:
            raise as_sqlalchemy(self._engine.dialect, error, session) from error
