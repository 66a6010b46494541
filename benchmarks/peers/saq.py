"""SAQ on Redis: https://github.com/tobymao/saq."""

from collections.abc import Callable
from typing import Any

from saq import (  # type: ignore[import-not-found, import-untyped, unused-ignore]
    Job,
    Queue,
    Worker,
)

from . import tasks
from .looping import LoopingAdapter

CONCURRENCY = 50
"""Jobs that one worker runs at a time; each needs a connection of the pool."""


async def deliver(context: Any, *, message: dict[str, Any]) -> None:  # noqa: ARG001
    """Call ``deliver``."""
    tasks.deliver(message)


async def note_start(context: Any, *, path: str, number: int) -> None:  # noqa: ARG001
    """Call ``note_start``."""
    tasks.note_start(path, number)


class Saq(LoopingAdapter):
    """``Queue.enqueue`` with results dropped at once, and a worker for 50 jobs at a time."""

    async def connect(self, dsn: str) -> None:
        self._queue = Queue.from_url(dsn, name="bench")
        await self._queue.connect()

    async def disconnect(self) -> None:
        await self._queue.disconnect()

    async def aenqueue(self, function: Callable[..., None], *args: Any) -> None:
        names = ("message",) if function is tasks.deliver else ("path", "number")
        kwargs = dict(zip(names, args, strict=True))
        await self._queue.enqueue(Job(function.__name__, kwargs=kwargs, ttl=-1))

    async def awork(self) -> None:
        await Worker(self._queue, functions=[deliver, note_start], concurrency=CONCURRENCY).start()
