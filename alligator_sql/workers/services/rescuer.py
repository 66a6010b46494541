"""Taking back the tasks of workers that died."""

import logging
from collections.abc import Callable

from ...backends import Backend
from .base import Service

logger = logging.getLogger(__name__)

MAX_CRASHES = 3
"""Workers that a task may take down before it is quarantined."""


class Rescuer(Service):
    """Looks for dead workers three times per lease, in every worker, without a leader."""

    def __init__(self, backend: Backend, ttl: float, wake: Callable[[], None]) -> None:
        super().__init__("rescuer", interval=ttl / 3)
        self._backend = backend
        self._wake = wake

    def run_once(self) -> None:
        """Take back what dead workers held."""
        rescued = self._backend.rescue(MAX_CRASHES)
        if rescued:
            logger.warning("took back %d tasks of dead workers", len(rescued))
            self._wake()
