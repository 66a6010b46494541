"""Celery on Redis: https://github.com/celery/celery."""

from collections.abc import Callable
from typing import Any

from celery import Celery  # type: ignore[import-not-found, import-untyped, unused-ignore]

from . import tasks
from .adapter import Adapter

THREADS = 8


class CeleryApp(Adapter):
    """Tasks without results, and a worker with 8 threads that fetches 128 messages ahead."""

    def __init__(self, dsn: str) -> None:
        self._app = Celery("bench", broker=dsn)
        self._app.conf.update(
            task_ignore_result=True,
            worker_prefetch_multiplier=16,
            worker_hijack_root_logger=False,
            broker_connection_retry_on_startup=True,
        )
        self._tasks = {
            function: self._app.task(name=function.__name__)(function)
            for function in (tasks.deliver, tasks.note_start)
        }

    def enqueue(self, function: Callable[..., None], *args: Any) -> None:
        """Send a message."""
        self._tasks[function].delay(*args)

    def work(self) -> None:
        """Run a worker that talks to no other."""
        self._app.worker_main(
            [
                *("worker", "--pool=threads", f"--concurrency={THREADS}", "--loglevel=WARNING"),
                *("--without-gossip", "--without-mingle", "--without-heartbeat"),
            ]
        )
