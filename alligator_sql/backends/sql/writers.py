"""Storing tasks in SQLite, below SQLAlchemy."""

from typing import TYPE_CHECKING

from .dialects import Steps, T
from .driver import BEGIN
from .spare import Spare
from .steps import drive, on_sqlite3

if TYPE_CHECKING:
    import sqlite3


class Writer(Spare):
    """Runs steps in transactions. SQLite has one writer at a time, so one connection is enough."""

    def run(self, steps: Steps[T]) -> T:
        """Run ``steps`` in a transaction, for one caller at a time.

        Raises:
            DBAPIError: What the driver raises, as one of SQLAlchemy.
        """

        def transaction(connection: "sqlite3.Connection") -> T:
            try:
                connection.execute(BEGIN["sqlite"])
                value = drive(steps, on_sqlite3(connection))
                connection.commit()
            except BaseException:
                # To close it is not enough: as long as a cursor of it lives, in the traceback
                # of this very exception, it keeps the lock.
                connection.rollback()
                raise
            return value

        return self.use(transaction)
