"""Waking the worker when the store has news."""

from collections.abc import Callable, Sequence

from ...backends import Backend
from .base import Service

WAIT = 1.0
"""Seconds of one wait, so that the service notices when it is stopped."""


class Listener(Service):
    """Calls ``wake`` whenever the backend says that there may be something to claim."""

    def __init__(self, backend: Backend, queues: Sequence[str], wake: Callable[[], None]) -> None:
        super().__init__("listener", interval=0.0)
        self._backend = backend
        self._queues = queues
        self._wake = wake

    def run_once(self) -> None:
        """Wait for news once; the first time only make sure that they would come."""
        try:
            if self._backend.listen(self._queues, WAIT if self.healthy else 0.0):
                self._wake()
        except Exception:
            if self.healthy:  # the worker has relied on it, and may mean to sleep for long
                self._wake()
            raise

    def finished(self) -> None:
        """Close the connection that this thread listened on."""
        self._backend.unlisten()
