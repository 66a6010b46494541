"""huey on Redis and on SQLite: https://github.com/coleifer/huey."""

from collections.abc import Callable
from typing import Any

from huey import (  # type: ignore[import-not-found, import-untyped, unused-ignore]
    RedisHuey,
    SqliteHuey,
)

from . import tasks
from .adapter import Adapter


class Huey(Adapter):
    """Without results, and a consumer with one thread: on Redis it blocks, on SQLite it polls."""

    def __init__(self, dsn: str) -> None:
        if dsn.startswith("sqlite"):
            path = dsn.removeprefix("sqlite:///")
            self._huey = SqliteHuey(
                "bench", filename=path, results=False, immediate=False, fsync=True
            )
        else:
            self._huey = RedisHuey("bench", results=False, immediate=False, blocking=True, url=dsn)
        self._tasks = {
            function: self._huey.task()(function) for function in (tasks.deliver, tasks.note_start)
        }

    def enqueue(self, function: Callable[..., None], *args: Any) -> None:
        """Call the decorated function."""
        self._tasks[function](*args)

    def work(self) -> None:
        """Run a consumer that, where it has to poll, looks again after a millisecond."""
        self._consume(initial_delay=0.001, max_delay=0.001)

    def wait(self) -> None:
        """Run a consumer with the default delays where it has to poll."""
        if isinstance(self._huey, SqliteHuey):
            self._consume()
        else:
            self.work()

    def _consume(self, **delays: float) -> None:
        self._huey.create_consumer(
            workers=1, worker_type="thread", periodic=False, check_worker_health=False, **delays
        ).run()
