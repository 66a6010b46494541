"""awa on PostgreSQL, in Rust: https://github.com/hardbyte/awa."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from awa import AsyncClient  # type: ignore[import-not-found, import-untyped, unused-ignore]

from . import tasks
from .looping import LoopingAdapter

WORKERS = 256


@dataclass
class Deliver:
    """The arguments of ``deliver``."""

    message: dict[str, Any]


@dataclass
class NoteStart:
    """The arguments of ``note_start``."""

    path: str
    number: int


class Awa(LoopingAdapter):
    """``insert``, ``enqueue_many_copy``, and a client with 256 workers."""

    async def connect(self, dsn: str) -> None:
        # It insists on a host in front, although the one after the question mark is what counts.
        self._client = AsyncClient(dsn.replace("@/", "@localhost/"))

    async def disconnect(self) -> None:
        await self._client.close()

    async def asetup(self) -> None:
        await self._client.migrate()
        # What a first worker would activate: COPY needs it before.
        await self._client.install_queue_storage()

    async def aenqueue(self, function: Callable[..., None], *args: Any) -> None:
        kind = Deliver if function is tasks.deliver else NoteStart
        await self._client.insert(kind(*args))

    async def aenqueue_batch(self, messages: list[dict[str, Any]]) -> None:
        await self._client.enqueue_many_copy([Deliver(message) for message in messages])

    async def awork(self) -> None:
        @self._client.task(Deliver)  # type: ignore[untyped-decorator, unused-ignore]
        async def deliver(job: Any) -> None:
            tasks.deliver(job.args.message)

        @self._client.task(NoteStart)  # type: ignore[untyped-decorator, unused-ignore]
        async def note_start(job: Any) -> None:
            tasks.note_start(job.args.path, job.args.number)

        await self._client.start([("default", WORKERS)])
        try:
            await asyncio.Event().wait()
        finally:
            await self._client.shutdown()
