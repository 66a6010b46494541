"""pgqueuer on PostgreSQL: https://github.com/janbjorge/pgqueuer."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import asyncpg  # type: ignore[import-not-found, import-untyped, unused-ignore]
from pgqueuer import PgQueuer  # type: ignore[import-not-found, import-untyped, unused-ignore]
from pgqueuer.queries import (  # type: ignore[import-not-found, import-untyped, unused-ignore]
    Queries,
)

from . import tasks
from .looping import LoopingAdapter

BATCH = 1000
"""Jobs that are fetched and acknowledged at a time; 100 is slower and 10 the default."""


class Pgqueuer(LoopingAdapter):
    """``Queries.enqueue``, and a ``PgQueuer`` with large batches, on asyncpg and uvloop."""

    async def connect(self, dsn: str) -> None:
        self._connection = await asyncpg.connect(dsn)
        self._queries = Queries.from_asyncpg_connection(self._connection)

    async def disconnect(self) -> None:
        await self._connection.close()

    async def asetup(self) -> None:
        await self._queries.install()

    async def aenqueue(self, function: Callable[..., None], *args: Any) -> None:
        await self._queries.enqueue(function.__name__, json.dumps(args).encode())

    async def aenqueue_batch(self, messages: list[dict[str, Any]]) -> None:
        payloads = [json.dumps([message]).encode() for message in messages]
        number = len(payloads)
        await self._queries.enqueue(["deliver"] * number, payloads, [0] * number)

    async def awork(self) -> None:
        queuer = PgQueuer.from_asyncpg_connection(self._connection)

        @queuer.entrypoint("deliver")  # type: ignore[untyped-decorator, unused-ignore]
        async def deliver(job: Any) -> None:
            tasks.deliver(*json.loads(job.payload))

        @queuer.entrypoint("note_start")  # type: ignore[untyped-decorator, unused-ignore]
        async def note_start(job: Any) -> None:
            tasks.note_start(*json.loads(job.payload))

        running = asyncio.ensure_future(queuer.run(batch_size=BATCH))
        try:
            await asyncio.shield(running)
        except asyncio.CancelledError:
            queuer.shutdown.set()  # it writes the outcomes that it holds
            await running
