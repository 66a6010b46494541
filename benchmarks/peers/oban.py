"""oban-py on PostgreSQL: https://github.com/oban-bg/oban-py."""

import asyncio
from collections.abc import Callable
from typing import Any

from oban import Oban, worker  # type: ignore[import-not-found, import-untyped, unused-ignore]
from oban.schema import install  # type: ignore[import-not-found, import-untyped, unused-ignore]

from . import tasks
from .looping import LoopingAdapter

LIMIT = 256
"""Jobs that one worker runs at a time."""


@worker()  # type: ignore[untyped-decorator, unused-ignore]
class Deliver:
    """Calls ``deliver``."""

    async def process(self, job: Any) -> None:
        """Run one job."""
        tasks.deliver(*job.args["args"])


@worker()  # type: ignore[untyped-decorator, unused-ignore]
class NoteStart:
    """Calls ``note_start``."""

    async def process(self, job: Any) -> None:
        """Run one job."""
        tasks.note_start(*job.args["args"])


class ObanPy(LoopingAdapter):
    """``Oban.enqueue``, ``enqueue_many``, and a queue that runs 256 jobs at a time, on uvloop."""

    async def connect(self, dsn: str) -> None:
        self._pool = await Oban.create_pool(dsn, min_size=1, max_size=10)
        self._client = Oban(pool=self._pool)

    async def disconnect(self) -> None:
        await self._pool.close()

    async def asetup(self) -> None:
        await install(self._pool)

    async def aenqueue(self, function: Callable[..., None], *args: Any) -> None:
        kind: Any = Deliver if function is tasks.deliver else NoteStart
        await self._client.enqueue(kind.new({"args": args}))

    async def aenqueue_batch(self, messages: list[dict[str, Any]]) -> None:
        kind: Any = Deliver
        await self._client.enqueue_many(kind.new({"args": [message]}) for message in messages)

    async def awork(self) -> None:
        async with Oban(pool=self._pool, queues={"default": LIMIT}):
            await asyncio.Event().wait()
