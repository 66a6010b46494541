"""Redis under chaos, with an append-only file that is synced before each answer."""

from typing import ClassVar

from alligator_sql.backends.redis import keys
from tests.redis_servers import RedisServer

from ..producer import QUEUE
from . import aof
from .base import Change, End, Store


class RedisStore(Store):
    """A Valkey server whose own append-only file is the witness.

    With ``appendfsync always`` whatever the server has answered is in that file; it is never
    rewritten here, so it holds every change from the first one on.
    """

    name: ClassVar[str] = "redis"
    faults: ClassVar[tuple[str, ...]] = (
        "restart", "disconnect", "stall", "reset", "cut", "swallow",
    )  # fmt: skip
    precision: ClassVar[float] = 2.0  # the file has whole seconds

    def __init__(self) -> None:
        self._server = RedisServer(
            "valkey",
            "--appendfsync", "always",
            "--auto-aof-rewrite-percentage", "0",
            "--aof-timestamp-enabled", "yes",
            "--maxmemory-policy", "noeviction",
        )  # fmt: skip
        self.port = self._server.port

    def dsn(self, port: int | None = None) -> str:
        """Return the connection string, by way of a proxy at ``port``."""
        return f"redis://127.0.0.1:{port or self.port}/0"

    def stamp(self) -> str:
        """Return the version."""
        with self._server.client() as client:
            info = client.info()
        return f"Valkey {info['valkey_version']}, append-only file, appendfsync always"

    def restart(self) -> None:
        """Kill the server and start it again."""
        self._server.kill()
        self._server.start()

    def disconnect(self) -> None:
        """Kill the connections of all clients but this one."""
        with self._server.client() as client:
            for kind in ("normal", "pubsub"):
                client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")

    def unfinished(self) -> int:
        """Return how many tasks wait or run."""
        ready, delayed, running, *_ = keys.of(QUEUE)
        with self._server.client() as client:
            return int(client.zcard(ready) + client.zcard(delayed) + client.hlen(running))

    def changes(self) -> list[Change]:
        """Return what the append-only file tells."""
        (file,) = self._server.folder.glob("appendonlydir/*.incr.aof")
        return list(aof.changes(file, _prefix()))

    def ends(self) -> dict[str, End]:
        """Return the hashes of the tasks."""
        with self._server.client() as client:
            names = [name for name in client.scan_iter(count=1000) if name.startswith(_prefix())]
            return {
                name.removeprefix(_prefix()).decode(): aof.end_of(client.hgetall(name))
                for name in names
            }

    def close(self) -> None:
        """Kill the server and remove its folder."""
        self._server.close()


def _prefix() -> bytes:
    return keys.task(QUEUE, "").encode()
