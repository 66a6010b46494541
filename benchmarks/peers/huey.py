"""huey: https://github.com/coleifer/huey."""

from collections.abc import Callable
from typing import Any

from huey import RedisHuey  # type: ignore[import-not-found, import-untyped, unused-ignore]

from . import tasks
from .adapter import Adapter


class Huey(Adapter):
    """``RedisHuey`` without results, and its consumer with one thread that blocks."""

    def __init__(self, dsn: str) -> None:
        self._huey = RedisHuey("bench", results=False, immediate=False, blocking=True, url=dsn)
        self._tasks = {
            function: self._huey.task()(function) for function in (tasks.deliver, tasks.note_start)
        }

    def enqueue(self, function: Callable[..., None], *args: Any) -> None:
        """Call the decorated function."""
        self._tasks[function](*args)

    def work(self) -> None:
        """Run the consumer."""
        self._huey.create_consumer(
            workers=1,
            worker_type="thread",
            periodic=False,
            initial_delay=0.001,
            max_delay=0.001,
            check_worker_health=False,
        ).run()
