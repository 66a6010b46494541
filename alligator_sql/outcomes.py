"""What can become of a claimed task.

Running a task is a pure step that returns one of these; one place in each backend
persists them, fenced by the claim::

    Succeeded   -> finished, success
    Failed      -> finished, failed
    Canceled    -> finished, canceled
    Retry       -> live again, retrying, due after a delay
    Snoozed     -> live again, due after a delay; the attempt is given back
    Released    -> live again, due as before; the attempt is given back
"""

import time
from dataclasses import dataclass, field
from typing import Any

from .messages import Claim, Failure, Payload
from .records import record


@record
class Succeeded:
    """The task ran to its end.

    Attributes:
        value: What the function returned, in this process.
        result: The JSON text to keep, or None.
        problem: Why a result that was to be kept cannot be.
        completed: The task has recorded this itself, in a transaction of its own. Once that is
            committed the fence holds no more, which is no news then.
    """

    value: Any = None
    result: str | None = None
    problem: str | None = None
    completed: bool = False

    @property
    def kept(self) -> bool:
        """Whether somebody may wait for what this task returned."""
        return self.result is not None or self.problem is not None


@dataclass(frozen=True, slots=True)
class Failed:
    """The last attempt failed, or the task may not run at all."""

    failure: Failure
    exception: BaseException | None = None
    started: bool = True
    """False gives the attempt back: the task's function was never called."""


@dataclass(frozen=True, slots=True)
class Canceled:
    """Stopped while it ran, because somebody had canceled it."""

    failure: Failure
    exception: BaseException | None = None


@dataclass(frozen=True, slots=True)
class Retry:
    """The attempt failed and another one is left, ``delay`` seconds from now."""

    delay: float
    failure: Failure
    payload: Payload
    exception: BaseException | None = None


@dataclass(frozen=True, slots=True)
class Snoozed:
    """Put back for ``delay`` seconds without costing an attempt, because of ``exception``."""

    delay: float
    exception: BaseException


@dataclass(frozen=True, slots=True)
class Released:
    """Handed back unstarted, or given up by a stopping worker."""


Outcome = Succeeded | Failed | Canceled | Retry | Snoozed | Released


@record
class Settlement:
    """A claim together with its outcome: what a worker acknowledges.

    Attributes:
        seconds: How long the task ran; None counts from its claim.
        ended: When it ended, on this process's monotonic clock: a batch is sent later.
    """

    claim: Claim
    outcome: Outcome
    seconds: float | None = None
    ended: float = field(default_factory=time.monotonic)
