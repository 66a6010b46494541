"""What the consumer asks of every runner."""

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable

from ...context import TaskContext
from ...exceptions import WorkerStopping
from ...execution import clean
from ...messages import Claim, Failure
from ...outcomes import Failed, Outcome

logger = logging.getLogger(__name__)

Perform = Callable[[Claim, TaskContext], Outcome]
"""Runs a claim in its context and returns its outcome."""
Done = Callable[[Claim, Outcome, float], None]
"""Gets a claim, its outcome and the seconds that it took, on any thread."""
MakeContext = Callable[[Claim], TaskContext]

STUCK_AFTER = 5.0
"""Seconds after its interruption from which on a task that still runs counts as stuck."""


class Runner(ABC):
    """Takes claims and runs them in the order in which they came, some at a time.

    All methods are called by the thread of the consumer, but :meth:`running`.
    """

    @abstractmethod
    def start(self) -> None:
        """Get ready."""

    @abstractmethod
    def submit(self, claims: list[Claim]) -> None:
        """Run ``claims`` as soon as there is room for them."""

    @abstractmethod
    def withdraw(self) -> list[Claim]:
        """Take back the claims that have not been started."""

    @property
    @abstractmethod
    def waiting(self) -> int:
        """How many claims have not been started."""

    @abstractmethod
    def running(self) -> list[TaskContext]:
        """Return what runs at this moment; some may be done already. From any thread."""

    @abstractmethod
    def set_stuck_aside(self) -> int:
        """Let others run in the place of what is stuck, and return how many that are now.

        A stuck task was told to stop and goes on. It is held until it ends, and then settled.
        """

    @abstractmethod
    def stop(self) -> None:
        """Give back threads and processes, once they have nothing to run."""


def broken(claim: Claim, error: BaseException) -> Outcome:
    """Return the outcome of a claim that could not be run as it should: no place is lost by it."""
    logger.error("task %s could not be run", claim.id, exc_info=error)
    return Failed(
        Failure(type(error).__name__, clean(f"The task could not be run: {error}")), error
    )


def is_stuck(context: TaskContext) -> bool:
    """Whether the task was made to stop long ago; to a worker that stops it may take its time."""
    since = context.interrupted_at
    return (
        since is not None
        and time.monotonic() - since > STUCK_AFTER
        and not isinstance(context.interruption, WorkerStopping)
    )


def tell_stuck(contexts: Iterable[TaskContext], what: str) -> None:
    """Log that tasks are stuck; ``what`` says what is done about it."""
    for context in contexts:
        logger.error("task %s does not stop (%s): %s", context.id, context.interruption, what)
