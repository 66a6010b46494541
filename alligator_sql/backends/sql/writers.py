"""Storing tasks in SQLite, below SQLAlchemy."""

from typing import TYPE_CHECKING

from .dialects import Steps, T
from .driver import BEGIN
from .steps import drive, on_sqlite3

if TYPE_CHECKING:
    import sqlite3


def write(steps: Steps[T], connection: "sqlite3.Connection") -> T:
    """Run ``steps`` in a transaction on ``connection``, which is ours."""
    try:
        connection.execute(BEGIN["sqlite"])
        value = drive(steps, on_sqlite3(connection))
        connection.commit()
    except BaseException:
        # To close it is not enough: as long as a cursor of it lives, in the traceback of this
        # very exception, it keeps the lock.
        connection.rollback()
        raise
    return value
