"""Carrying messages between running tasks and the store: cancellations, and progress."""

import threading
import time
from collections.abc import Callable, Collection
from uuid import UUID

from ...backends import Backend
from ...context import TaskContext
from .base import Service

SHORTEST_PAUSE = 1.0
"""Seconds between two looks for cancellations at least, however often it is woken."""


class Attendant(Service):
    """Tells tasks that they were canceled, and the store how far tasks have come.

    It does both with each heartbeat of the worker, and looks for cancellations when the worker
    is woken, too.

    Args:
        backend: Where the tasks are held.
        ttl: The seconds of the worker's lease; three rounds are made in that time.
        worker: Returns the present incarnation of the worker.
        held: Returns the ids of the tasks that it holds.
        running: Returns the contexts of those that run.
        cancel: Called with the ids of those that were canceled.
    """

    def __init__(
        self,
        backend: Backend,
        ttl: float,
        worker: Callable[[], UUID],
        held: Callable[[], Collection[UUID]],
        running: Callable[[], Collection[TaskContext]],
        cancel: Callable[[Collection[UUID]], None],
    ) -> None:
        super().__init__("attendant", interval=0.0)
        self._backend = backend
        self._beat = ttl / 3
        self._worker = worker
        self._held = held
        self._running = running
        self._cancel = cancel
        self._woken = threading.Event()
        self._next_report = 0.0

    def wake(self) -> None:
        """Look for cancellations soon."""
        self._woken.set()

    def stop(self) -> None:
        """Ask the loop to end after the present run."""
        super().stop()
        self._woken.set()

    def run_once(self) -> None:
        """Make one round, and wait for the next."""
        able = self._backend.capabilities
        if able.interrupt and (held := self._held()):
            canceled = self._backend.canceled(self._worker(), held)
            if canceled:
                self._cancel(canceled)
        if able.progress and time.monotonic() >= self._next_report:
            self._next_report = time.monotonic() + self._beat
            self._report()
        self._stopped.wait(SHORTEST_PAUSE)
        self._woken.wait(max(0.0, self._beat - SHORTEST_PAUSE))
        self._woken.clear()

    def finished(self) -> None:
        """Pass on the last words."""
        if self._backend.capabilities.progress:
            self._report()

    def _report(self) -> None:
        news = []
        for context in self._running():
            said = context.said
            if said is not None and said is not context.reported and context.claim is not None:
                news.append((context, context.claim.id, said))
        if news:
            self._backend.report(self._worker(), {task_id: said for _, task_id, said in news})
        for context, _, said in news:
            context.reported = said
