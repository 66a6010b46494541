"""Alligator 1.0: https://github.com/toastdriven/alligator."""

import logging
from collections.abc import Callable
from typing import Any

from alligator import Gator, Worker  # type: ignore[import-not-found, import-untyped, unused-ignore]

from .adapter import Adapter


class Alligator(Adapter):
    """``Gator`` and ``Worker``."""

    def __init__(self, dsn: str) -> None:
        self._gator = Gator(dsn)

    def enqueue(self, function: Callable[..., None], *args: Any) -> None:
        """Enqueue by ``gator.task``."""
        self._gator.task(function, *args)

    def work(self) -> None:
        """Run a worker that never naps."""
        self._run(nap_time=0)

    def wait(self) -> None:
        """Run a worker with the default settings: without naps it needs a CPU to wait."""
        self._run()

    def _run(self, **settings: Any) -> None:
        worker = Worker(self._gator, **settings)
        logging.disable()  # of two workers, one logs an error when the other was quicker
        worker.run_forever()
