"""redis-py, without anything around it."""

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any
from unittest.mock import patch

from alligator_sql import Gator
from alligator_sql.backends.redis import RedisBackend
from alligator_sql.backends.redis.connections import Command

from . import tasks
from .adapter import Adapter


class RedisDriver(Adapter):
    """Sends the scripts of ``gator.task`` once more, on a connection without a client."""

    def __init__(self, dsn: str) -> None:
        import redis

        self._pool: Any = redis.ConnectionPool.from_url(dsn, protocol=2)
        self._gator = Gator(dsn)

    def enqueue(self, function: Callable[..., None], *args: Any) -> None:
        """Send what ``gator.task`` sends."""
        self._send(self._recorded(function, [args]))

    def enqueue_one_by_one(self, number: int) -> float:
        """Send what ``number`` calls of ``gator.task`` send."""
        commands = self._recorded(tasks.deliver, [(tasks.mail(each),) for each in range(number)])
        started = perf_counter()
        self._send(commands)
        return perf_counter() - started

    def work(self) -> None:
        """Refuse: the driver only enqueues."""
        raise NotImplementedError

    def _recorded(
        self, function: Callable[..., None], calls: Sequence[tuple[Any, ...]]
    ) -> list[Command]:
        """Enqueue ``calls``, forget the tasks, and return the commands that it took."""
        assert isinstance(self._gator.store, RedisBackend)
        connections = self._gator.store.connections
        commands: list[Command] = []

        def record(sent: Sequence[Command], **options: Any) -> list[Any]:
            commands.extend(sent)
            return call(sent, **options)

        call = connections.call
        with patch.object(connections, "call", record):
            for args in calls:
                self._gator.task(function, *args)
        self._send([("FLUSHDB",)])
        return [command for command in commands if command[0] == "EVALSHA"]

    def _send(self, commands: Sequence[Command]) -> None:
        connection = self._pool.get_connection()
        for command in commands:
            connection.send_packed_command(connection.pack_command(*command))
            connection.read_response()
        self._pool.release(connection)
