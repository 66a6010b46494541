"""The fast lane: the session on which a process stores single tasks in PostgreSQL.

A third of what the server does for a single task is planning, though the statement has no choice.
But that a session keeps its plans goes for all that is executed on it, and most other statements
need new ones. So one session does nothing else.
"""

import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import Engine

from ...messages import Message
from . import single
from .connections import at_fork
from .dialects import Execute, Parameters, Rows
from .driver import as_sqlalchemy
from .spare import Spare
from .steps import psycopg_sql
from .tables import Names

if TYPE_CHECKING:
    from .sessions import Session

_KEEP_PLANS = "select set_config('plan_cache_mode', 'force_generic_plan', false)"


class Lane(Spare):
    """One session, for one thread at a time: who finds it in use has to go another way.

    Args:
        engine: An engine of ours.
        names: The names of the tables.
    """

    def __init__(self, engine: Engine, names: Names) -> None:
        super().__init__(engine)
        self._names = names
        self._in_use = threading.Lock()
        at_fork(in_child=self._leave)

    def insert(self, message: Message, announce: Callable[[Execute], object] | None) -> bool:
        """Store ``message``, which no unique key can exclude, and ``announce`` it.

        Returns:
            False when nothing was stored: the task is known, or somebody else is on the lane.

        Raises:
            DBAPIError: What the driver raises, as one of SQLAlchemy.
        """
        in_use = self._in_use
        if not in_use.acquire(blocking=False):
            return False
        try:
            return self.use(partial(self._insert, message, announce))
        finally:
            in_use.release()

    def _insert(
        self, message: Message, announce: Callable[[Execute], object] | None, session: "Session"
    ) -> bool:
        execute = partial(self._execute, session)
        is_new = bool(execute(*single.statement(self._names, message, None)))
        if is_new and announce is not None:
            announce(execute)
            if not session.is_at_rest():  # whatever happened, the task is stored
                session.close()
        return is_new

    def _execute(self, session: "Session", sql: str, parameters: Parameters) -> Rows:
        try:
            return session.execute(psycopg_sql(sql), parameters).fetchall()
        except session.Error as error:
            raise as_sqlalchemy(self._dialect, error, session) from error

    def _taken(self) -> "Session":
        session: Session = super()._taken()
        if session.has_word():  # mostly that the server has closed it
            session.close()
            return self._opened()
        return session

    def _opened(self) -> "Session":
        session: Session = super()._opened()
        if session.prepare_threshold is not None:  # else a pooler is in between
            try:
                self._execute(session, _KEEP_PLANS, {})
            except BaseException:
                session.close()
                raise
        return session

    def _leave(self) -> None:
        self.forget()
        self._in_use = threading.Lock()
