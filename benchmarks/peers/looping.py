"""Contenders whose interface is asynchronous."""

import asyncio
import contextlib
import signal
from abc import abstractmethod
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from time import perf_counter
from typing import Any

from . import tasks
from .adapter import Adapter

BATCH = 1000
"""Tasks that are enqueued at a time: as many as ``Gator.map`` sends."""


class LoopingAdapter(Adapter):
    """Runs the coroutines of a contender in one event loop: that of uvloop if it is installed."""

    def __init__(self, dsn: str) -> None:
        factory = import_module("uvloop").new_event_loop if find_spec("uvloop") else None
        self._runner = asyncio.Runner(loop_factory=factory)
        self._runner.run(self.connect(dsn))

    @abstractmethod
    async def connect(self, dsn: str) -> None:
        """Connect to the database ``dsn``."""

    @abstractmethod
    async def disconnect(self) -> None:
        """Close the connections."""

    async def asetup(self) -> None:
        """Do what :meth:`setup` does."""

    @abstractmethod
    async def aenqueue(self, function: Callable[..., None], *args: Any) -> None:
        """Do what :meth:`enqueue` does."""

    async def aenqueue_batch(self, messages: list[dict[str, Any]]) -> None:
        """Enqueue one call of ``deliver`` with each of ``messages``, in the quickest way."""
        for message in messages:
            await self.aenqueue(tasks.deliver, message)

    @abstractmethod
    async def awork(self) -> None:
        """Work until the coroutine is cancelled."""

    def setup(self) -> None:
        self._runner.run(self.asetup())

    def close(self) -> None:
        self._runner.run(self.disconnect())
        self._runner.close()

    def enqueue(self, function: Callable[..., None], *args: Any) -> None:
        self._runner.run(self.aenqueue(function, *args))

    def enqueue_one_by_one(self, number: int) -> float:
        async def all_of_them() -> float:
            started = perf_counter()
            for each in range(number):
                await self.aenqueue(tasks.deliver, tasks.mail(each))
            return perf_counter() - started

        return self._runner.run(all_of_them())

    def enqueue_many(self, number: int, subject: str = tasks.SUBJECT) -> float:
        async def all_of_them() -> float:
            started = perf_counter()
            for first in range(0, number, BATCH):
                numbers = range(first, min(first + BATCH, number))
                await self.aenqueue_batch([tasks.mail(each, subject) for each in numbers])
            return perf_counter() - started

        return self._runner.run(all_of_them())

    def work(self) -> None:
        async def until_told() -> None:
            work = asyncio.ensure_future(self.awork())
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, work.cancel)
            with contextlib.suppress(asyncio.CancelledError):
                await work

        self._runner.run(until_told())
