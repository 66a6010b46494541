"""Removing the history that is old enough."""

import logging

from ...backends import Backend
from .base import Service

logger = logging.getLogger(__name__)

INTERVAL = 60.0


class Pruner(Service):
    """Prunes once a minute, in every worker; rows that another one removes are skipped."""

    def __init__(self, backend: Backend, keep_success: float, keep_failed: float) -> None:
        super().__init__("pruner", INTERVAL)
        self._backend = backend
        self._keep_success = keep_success
        self._keep_failed = keep_failed

    def run_once(self) -> None:
        """Remove what is old enough."""
        pruned = self._backend.prune(self._keep_success, self._keep_failed)
        if pruned:
            logger.info("pruned %d ended tasks", pruned)
