"""Recording the success of a running task in a transaction of the application."""

import time
from dataclasses import replace
from typing import Any

from .backends import Backend
from .execution import with_result
from .messages import Claim
from .outcomes import Settlement, Succeeded


class Completion:
    """What the context of a task needs of the backend that the task came from.

    Args:
        backend: Where the task is held. It must be able to join transactions.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def complete(self, claim: Claim, value: Any, seconds: float, connection: Any) -> bool:
        """Record a success in the transaction of ``connection``; False when it may not count."""
        return self._backend.complete(_settlement(claim, value, seconds), connection)

    async def acomplete(self, claim: Claim, value: Any, seconds: float, connection: Any) -> bool:
        """Do what :meth:`complete` does, for an asynchronous connection."""
        return await self._backend.acomplete(_settlement(claim, value, seconds), connection)


def completion_of(backend: Backend) -> Completion | None:
    """Return the completion for ``backend``, or None when it cannot join transactions."""
    return Completion(backend) if backend.capabilities.transactional else None


def _settlement(claim: Claim, value: Any, seconds: float) -> Settlement:
    outcome = Succeeded() if value is None else with_result(value)
    return Settlement(claim, replace(outcome, completed=True), seconds, time.monotonic())
