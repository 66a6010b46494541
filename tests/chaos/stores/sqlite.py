"""A SQLite file under chaos: there is no server, but there are locks."""

import shutil
import sqlite3
import tempfile
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, ClassVar, Final

from alligator_sql.backends.sql import schema

from . import databases
from .databases import Database

PATIENCE: Final = 60.0
"""Seconds to wait for the lock."""


class SQLiteStore(Database):
    """A file with ``synchronous = full``, which the backend sets."""

    name: ClassVar[str] = "sqlite"
    faults: ClassVar[tuple[str, ...]] = ("lock",)
    precision: ClassVar[float] = 0.002  # it has milliseconds

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="gator-"))
        self._path = self._folder / "tasks.db"
        schema.upgrade(self.dsn())
        for statement in databases.sqlite():
            self.execute(statement)
        self._locking: sqlite3.Connection | None = None

    def dsn(self, port: int | None = None) -> str:
        """Return the place of the file."""
        return f"sqlite:///{self._path}"

    def stamp(self) -> str:
        """Return version and journal mode."""
        (mode,) = self.execute("pragma journal_mode")[0]
        return f"SQLite {sqlite3.sqlite_version}, journal mode {mode}"

    def lock(self) -> None:
        """Hold the one lock that writers need; a worker may have been frozen that holds it."""
        if self._locking is None:
            self._locking = self._connect(timeout=0.2)
            with suppress(sqlite3.OperationalError):
                self._locking.execute("begin immediate")

    def unlock(self) -> None:
        """Give it back."""
        if self._locking is not None:
            self._locking.close()
            self._locking = None

    def close(self) -> None:
        """Remove the file."""
        self.unlock()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _connect(self, timeout: float = PATIENCE) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=timeout, isolation_level=None)

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement in a transaction of its own, and return its rows."""
        with closing(self._connect()) as connection:
            return connection.execute(statement).fetchall()
