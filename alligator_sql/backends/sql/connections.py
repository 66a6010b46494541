"""The connections that are ours: in what transaction a statement runs, and what fails how."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, TypeVar
from weakref import WeakMethod

from sqlalchemy import Connection, Engine

from ... import jitter
from ...exceptions import QueueFull, StoreUnavailableError, Unsupported
from . import engines
from .dialects import Execute, Steps, T
from .driver import BEGIN, begin, can_pipeline, on_driver
from .spare import Spare
from .steps import drive, on_sqlalchemy
from .troubles import Translated, is_full, is_passing
from .writers import write

ATTEMPTS = 3
"""How often something is tried that may be repeated."""
LAST_ATTEMPT = 5.0
"""Seconds after the first attempt until which there is another: somebody waits for it."""
LONGEST_PAUSE = 0.2
"""Seconds before another try at most."""
_Value = TypeVar("_Value")


class Connections:
    """Hands out connections of one engine.

    Args:
        engine: The engine, of ours or of the application.
        owned: Whether it is ours, to close and to configure.

    Attributes:
        owned: The same.
        can_pipeline: Whether several statements may be sent in one round trip.

    Raises:
        Unsupported: Not an engine that tasks can be stored with.
    """

    def __init__(self, engine: Engine, *, owned: bool) -> None:
        self.engine = engine if owned else _checked(engine)
        self.owned = owned
        self._is_sqlite = engine.dialect.name == "sqlite"
        self.can_pipeline = owned and not self._is_sqlite and can_pipeline()
        self._autocommit = (
            engine if owned else engine.execution_options(isolation_level="AUTOCOMMIT")
        )
        # Transactions must not inherit the level of the application: under REPEATABLE READ a
        # claim fails when somebody else was faster.
        self._transactional = (
            engine
            if owned or self._is_sqlite
            else engine.execution_options(isolation_level="READ COMMITTED")
        )
        self._begin = begin if owned else _begin_immediate if self._is_sqlite else engines.begun
        self._writing = threading.Lock()
        # SQLite has one writer at a time, so one connection is enough to store tasks.
        self._spare = Spare(engine) if owned and self._is_sqlite else None
        at_fork(before=self._before_fork, in_child=self._in_child)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Open a transaction that writes; it is committed at the end of the block."""
        with Translated(), self._turn(), self._connect(self._transactional) as connection:
            self._begin(connection)
            yield connection
            connection.commit()

    @contextmanager
    def statement(self) -> Iterator[Connection]:
        """Open a connection for statements that stand alone."""
        with Translated(), self._connect(self._autocommit) as connection:
            yield connection

    def run(self, steps: Steps[T]) -> T:
        """Run ``steps`` in a transaction that writes, in the quickest way that there is."""
        if self._spare is None:
            with self.transaction() as connection:
                return drive(steps, self.executor(connection))
        with Translated(), self._writing:
            return self._spare.use(partial(write, steps))

    def executor(self, connection: Connection) -> Execute:
        """Return what executes text on ``connection``, in the quickest way that it allows."""
        return on_driver(connection) if self.owned else on_sqlalchemy(connection)

    def insist(self, attempt: Callable[[bool], _Value]) -> _Value:
        """Make an attempt again when its connection was lost on the way, or for a deadlock.

        The first one may have succeeded all the same: ``attempt`` is told whether it is another.

        Raises:
            QueueFull: The disk is full.
            StoreUnavailableError: The database has other trouble, or still has it.
        """
        began = time.monotonic()
        number = 1
        while True:
            try:
                return attempt(number > 1)
            except StoreUnavailableError as error:
                if is_full(error):
                    raise QueueFull(f"No room for more tasks. {error}") from error
                late = number == ATTEMPTS or time.monotonic() - began > LAST_ATTEMPT
                if late or not is_passing(error):
                    raise
            number += 1
            time.sleep(jitter.uniform(0, LONGEST_PAUSE))

    def close(self) -> None:
        """Close the pool, unless it is the application's."""
        if self._spare is not None:
            self._spare.close()
        if self.owned:
            self.engine.dispose()

    def _before_fork(self) -> None:
        """SQLite forbids to use a connection in a child, and to close it there, too."""
        if self._spare is not None:
            self._spare.close()
            self.engine.dispose()

    def _in_child(self) -> None:
        """The sockets are the parent's: two processes on one would get each other's answers."""
        self._writing = threading.Lock()
        if self._spare is not None:
            self._spare.forget()
        if self.owned:
            self.engine.dispose(close=False)

    @contextmanager
    def _connect(self, engine: Engine) -> Iterator[Connection]:
        with (
            engine.connect() as connection,
            nullcontext() if self.owned else engines.replanned(connection),
        ):
            yield connection

    def _turn(self) -> AbstractContextManager[Any]:
        """SQLite's own queue of writers is unfair, so threads wait for each other here."""
        return self._writing if self._is_sqlite else nullcontext()


def at_fork(*, in_child: Callable[[], None], before: Callable[[], None] | None = None) -> None:
    """Call methods at each fork of this process, as long as their object lives."""
    if hasattr(os, "register_at_fork"):  # Windows has no fork
        os.register_at_fork(after_in_child=_weak(in_child))
        if before is not None:
            os.register_at_fork(before=_weak(before))


def _weak(method: Callable[[], None]) -> Callable[[], None]:
    reference = WeakMethod(method)

    def call() -> None:
        alive = reference()
        if alive is not None:
            alive()

    return call


def _checked(engine: Any) -> Engine:
    if not isinstance(engine, Engine):
        raise Unsupported(
            f"engine= takes a synchronous SQLAlchemy Engine, not {type(engine).__name__}. With an "
            "AsyncEngine give the DSN too, and join its sessions with gator.using(session)."
        )
    if engine.dialect.name == "sqlite":
        engines.check_sqlite(engine.url)
    elif engine.dialect.name != "postgresql" or engine.dialect.driver != "psycopg":
        raise Unsupported(
            f"engine= has the dialect {engine.dialect.name}+{engine.dialect.driver}. Tasks are "
            "stored in postgresql+psycopg or sqlite."
        )
    return engine


def _begin_immediate(connection: Connection) -> None:
    """Begin as on connections of ours, see :data:`.driver.BEGIN`."""
    if engines.begun(connection).in_transaction:  # as the engine of the application does
        connection.exec_driver_sql("commit")
    connection.exec_driver_sql(BEGIN["sqlite"])
