"""procrastinate on PostgreSQL: https://github.com/procrastinate-org/procrastinate."""

from collections.abc import Callable
from typing import Any

from procrastinate import (  # type: ignore[import-not-found, import-untyped, unused-ignore]
    App,
    PsycopgConnector,
)

from . import tasks
from .looping import LoopingAdapter

CONCURRENCY = 30
"""Jobs that run at a time in one worker, each with a connection of the pool at its ends."""


class Procrastinate(LoopingAdapter):
    """``defer_async``, ``batch_defer_async``, and a worker that runs many jobs at a time."""

    async def connect(self, dsn: str) -> None:
        self._app = App(connector=PsycopgConnector(conninfo=dsn, min_size=1, max_size=20))

        # Coroutines: it would send a function to a thread.
        async def deliver(message: dict[str, Any]) -> None:
            tasks.deliver(message)

        async def note_start(path: str, number: int) -> None:
            tasks.note_start(path, number)

        self._tasks = {
            "deliver": self._app.task(name="deliver")(deliver),
            "note_start": self._app.task(name="note_start")(note_start),
        }
        await self._app.open_async()

    async def disconnect(self) -> None:
        await self._app.close_async()

    async def asetup(self) -> None:
        await self._app.schema_manager.apply_schema_async()

    async def aenqueue(self, function: Callable[..., None], *args: Any) -> None:
        names = ("message",) if function is tasks.deliver else ("path", "number")
        await self._tasks[function.__name__].defer_async(**dict(zip(names, args, strict=True)))

    async def aenqueue_batch(self, messages: list[dict[str, Any]]) -> None:
        await self._tasks["deliver"].batch_defer_async(
            *({"message": message} for message in messages)
        )

    async def awork(self) -> None:
        await self._app.run_worker_async(
            concurrency=CONCURRENCY, delete_jobs="never", install_signal_handlers=False
        )
