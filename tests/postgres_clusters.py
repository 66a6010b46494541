"""PostgreSQL servers at a TCP port, to be stopped, started, frozen and replaced by a standby."""

import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, LiteralString, Self

import psycopg

from .helpers import free_port
from .postgres_servers import PostgresServer

PATIENCE = 60
"""Seconds for one command of the server."""


class Cluster:
    """A running server of its own, with fsync on.

    Args:
        programs: The folder of ``initdb`` and the others.
        user: The system's user that runs them; None for that of the tests.
        primary: The server that this one is a standby of.
    """

    def __init__(self, programs: Path, user: str | None, primary: "Cluster | None" = None) -> None:
        self._programs = programs
        self._user = user
        self._folder = Path(tempfile.mkdtemp(prefix="gator-"))
        self._data = self._folder / "data"
        self.port = free_port()
        if user is not None:
            shutil.chown(self._folder, user)
        if primary is None:
            self._run("initdb", "-U", "postgres", "--auth", "trust", "--no-sync")
        else:
            source = f"host=127.0.0.1 port={primary.port} user=postgres"
            self._run("pg_basebackup", "-d", source, "-R", "-c", "fast", "--no-sync")
        self.start()

    @classmethod
    def like(cls, server: PostgresServer) -> Self:
        """Return a new server that runs the programs of another."""
        wheel = server._server
        return cls(wheel.bin_path, wheel.system_user)

    def standby(self) -> "Cluster":
        """Return a server that follows this one."""
        return Cluster(self._programs, self._user, primary=self)

    def dsn(self, *ports: int, query: str = "") -> str:
        """Return the string that leads here, or to other ports of this machine."""
        hosts = ",".join(f"127.0.0.1:{port}" for port in ports or (self.port,))
        return f"postgresql://postgres@{hosts}/postgres{query and '?'}{query}"

    def execute(self, statement: LiteralString, *parameters: Any) -> list[tuple[Any, ...]]:
        """Execute a statement and return its rows, if it has any."""
        with psycopg.connect(
            host="127.0.0.1", port=self.port, user="postgres", autocommit=True,
            application_name="test", connect_timeout=PATIENCE,
            options="-c default_transaction_read_only=off",
        ) as connection:  # fmt: skip
            cursor = connection.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []

    def start(self) -> None:
        """Start, and wait until it accepts connections."""
        log = str(self._folder / "log")
        options = f"-h 127.0.0.1 -p {self.port} -k {self._folder}"
        self._run("pg_ctl", "-w", "-t", str(PATIENCE), "-o", options, "-l", log, "start")

    def stop(self) -> None:
        """Stop at once, as a power cut does."""
        self._run("pg_ctl", "-w", "-m", "immediate", "stop")

    def promote(self) -> None:
        """Make the primary out of this standby."""
        self._run("pg_ctl", "-w", "promote")

    def freeze(self) -> None:
        """Let all server processes stand still, with their connections open."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let them go on."""
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        """Stop, and remove the folder."""
        if (self._data / "postmaster.pid").exists():
            self.thaw()
            self.stop()
        shutil.rmtree(self._folder)

    def _signal(self, number: int) -> None:
        postmaster = (self._data / "postmaster.pid").read_text().split()[0]
        found = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", postmaster, "-p", postmaster],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        for pid in found.stdout.split():
            with suppress(ProcessLookupError):  # it has ended meanwhile
                os.kill(int(pid), number)

    def _run(self, program: str, *arguments: str) -> None:
        # To a file: a server that is started here would keep a pipe open.
        with (self._folder / "commands").open("a") as log:
            subprocess.run(
                [str(self._programs / program), "-D", str(self._data), *arguments],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                user=self._user, timeout=PATIENCE + 10, check=True,
            )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
