"""dramatiq on Redis: https://github.com/Bogdanp/dramatiq."""

import os
import signal
from collections.abc import Callable
from threading import Event
from typing import Any

# It is read when the worker's module is imported.
os.environ["dramatiq_queue_prefetch"] = "1000"  # noqa: SIM112

import dramatiq  # type: ignore[import-not-found, import-untyped, unused-ignore]
from dramatiq.brokers.redis import (  # type: ignore[import-not-found, import-untyped, unused-ignore]
    RedisBroker,
)

from . import tasks
from .adapter import Adapter

THREADS = 8


class Dramatiq(Adapter):
    """An actor without retries, and a worker with 8 threads that fetches 1,000 messages ahead."""

    def __init__(self, dsn: str) -> None:
        self._broker = RedisBroker(url=dsn, middleware=[])
        dramatiq.set_broker(self._broker)
        self._actors = {
            function: dramatiq.actor(function) for function in (tasks.deliver, tasks.note_start)
        }

    def enqueue(self, function: Callable[..., None], *args: Any) -> None:
        """Send a message to the actor."""
        self._actors[function].send(*args)

    def work(self) -> None:
        """Run a worker in this process."""
        stopped = Event()
        signal.signal(signal.SIGTERM, lambda *_: stopped.set())
        worker = dramatiq.Worker(self._broker, worker_threads=THREADS)
        worker.start()
        stopped.wait()
        worker.stop()
