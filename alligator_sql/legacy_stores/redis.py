"""Alligator 1.0's queues in Redis.

A queue is a sorted set under its plain name, with the ids as members and their due times as
scores. The serialized task is a string under its plain id.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ..exceptions import InvalidOptionError, StoreUnavailableError, UnknownBackendError
from .base import Entry, LegacyStore

CONNECT_TIMEOUT = 10.0
"""Seconds to wait for the server to accept a connection."""
ANSWER_TIMEOUT = 60.0
"""Seconds to wait for the answer to one page."""

_REMOVE = """
local removed = 0
for place = 2, #KEYS do
  if redis.call('GET', KEYS[place]) == ARGV[place - 1] then
    redis.call('DEL', KEYS[place])
    removed = removed + redis.call('ZREM', KEYS[1], KEYS[place])
  end
end
return removed
"""
"""A script, so that a task that is pushed again under its id meanwhile is not lost."""


class RedisStore(LegacyStore):
    """Alligator 1.0's Redis database.

    Args:
        conn_string: ``redis://host:port/0``, or ``rediss://`` or ``unix://``.

    Raises:
        UnknownBackendError: The string cannot be read, or the package redis is not installed.
        InvalidOptionError: Its database is no number, or it has an unknown parameter.
    """

    def __init__(self, conn_string: str) -> None:
        try:
            import redis
        except ModuleNotFoundError as error:
            raise UnknownBackendError(
                f"Reading Redis needs the package {error.name}: pip install 'alligator-sql[redis]'"
            ) from error
        from ..backends.redis.connections import check_url

        check_url(conn_string)
        try:
            self._redis: Any = redis.Redis.from_url(
                conn_string, socket_connect_timeout=CONNECT_TIMEOUT, socket_timeout=ANSWER_TIMEOUT
            )
            self._redis.connection_pool.make_connection()  # which reads it, and connects nowhere
        except (TypeError, ValueError) as error:  # its text may hold the password
            raise UnknownBackendError(
                "The connection string cannot be read. Form: redis://host:6379/0."
            ) from error
        self._error = redis.RedisError
        self._remove = self._redis.register_script(_REMOVE)

    def close(self) -> None:
        """Close the connection."""
        self._redis.close()

    def len(self, queue: str) -> int:
        """Return how many tasks wait; a queue that is not there is an empty one."""
        with self._translated():
            kind = self._redis.type(queue).decode()
            if kind not in {"zset", "none"}:
                raise InvalidOptionError(
                    f"{queue!r} is no queue of Alligator 1.0 but a Redis {kind}."
                )
            return int(self._redis.zcard(queue))

    def pages(self, queue: str, size: int) -> Iterator[list[Entry]]:
        """Yield the tasks by their due times, and those of one time by their ids."""
        skip = 0
        while page := self._page(queue, skip, size):
            yield page
            skip += self._remaining(queue, page)

    def _page(self, queue: str, skip: int, size: int) -> list[Entry]:
        with self._translated():
            members = self._redis.zrange(queue, skip, skip + size - 1, withscores=True)
            if not members:
                return []
            texts = self._redis.mget([task_id for task_id, _ in members])
        return [
            Entry(task_id, data, due) for (task_id, due), data in zip(members, texts, strict=True)
        ]

    def _remaining(self, queue: str, page: Sequence[Entry]) -> int:
        with self._translated(), self._redis.pipeline(transaction=False) as pipeline:
            for entry in page:
                pipeline.zscore(queue, entry.task_id)
            return sum(score is not None for score in pipeline.execute())

    def remove(self, queue: str, entries: Sequence[Entry]) -> int:
        """Remove ids and tasks in one step."""
        with self._translated():
            return int(
                self._remove(
                    keys=[queue, *(entry.task_id for entry in entries)],
                    args=[entry.data or b"" for entry in entries],
                )
            )

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn the client's errors into ours."""
        try:
            yield
        except self._error as error:
            raise StoreUnavailableError(f"Redis does not answer as it should: {error}") from error
