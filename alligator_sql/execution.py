"""Running a claimed task: from a claim to an outcome, without any store.

What a task, a hook or a stored row does wrong becomes the outcome of that one task.
"""

import asyncio
import logging
import time
import traceback
from dataclasses import replace
from typing import Any

from . import callables, coroutines, jitter, jsontext, threadstops
from .context import TaskContext
from .exceptions import (
    AlligatorException,
    ChildDied,
    Discard,
    ForbiddenCallableError,
    Interrupted,
    LeaseLost,
    PayloadError,
    Retry,
    Snooze,
    TaskCanceled,
    TaskTimeout,
    UnknownCallableError,
    UnknownModuleError,
)
from .messages import Claim, Failure, Payload
from .outcomes import Canceled, Failed, Outcome, Released, Snoozed, Succeeded
from .outcomes import Retry as Retried
from .redaction import hide_password
from .retry import check_backoff, delay_after
from .tasks import Task

logger = logging.getLogger(__name__)

LONGEST_ERROR_TEXT = 64 * 1024
"""Characters of a message or a traceback that are kept."""
LARGEST_RESULT = 1024 * 1024
"""Bytes of JSON that are kept of a result."""
UNROUTABLE_SHORTEST = 5.0
UNROUTABLE_LONGEST = 300.0
UNROUTABLE_GIVE_UP = 24 * 3600.0
"""Seconds after which a task whose function nobody can import fails."""


def perform(
    claim: Claim, task_class: type[Task], policy: callables.Policy, context: TaskContext
) -> Outcome:
    """Load the task of ``claim``, run it on this thread and return what became of it."""
    with policy.active():  # also while it runs: a retry is serialized, with what a hook has put in
        task = load(claim, task_class)
        if not isinstance(task, Task):
            return task
        return attempt(task, claim.attempts - claim.crashes, context)


async def aperform(
    claim: Claim, task_class: type[Task], policy: callables.Policy, context: TaskContext
) -> Outcome:
    """Do what :func:`perform` does, on the event loop that runs here."""
    with policy.active():
        task = load(claim, task_class)
        if not isinstance(task, Task):
            return task
        failures = claim.attempts - claim.crashes
        try:
            with context.current():
                context.begin(task.task_id, task.timeout)
                try:
                    context.stop_by(coroutines.canceling())
                    value = await task.arun()
                finally:
                    context.end()
        except BaseException as error:
            return _after_error(task, failures, context, error)
        return _succeeded(task, value, context)


def load(claim: Claim, task_class: type[Task]) -> Task | Outcome:
    """Return the task of ``claim``, or the outcome when there is none that may run.

    The policy in effect decides what may.
    """
    if claim.payload is None:
        return Failed(Failure("PayloadError", "The stored payload is gone."), started=False)
    if claim.expires_in is not None:
        late = time.monotonic() - claim.received - claim.expires_in
        if late >= 0:
            failure = Failure(
                "Expired", f"Came up {late:.3f} s after it expired.", reason="expired"
            )
            return Failed(failure, started=False)
    try:
        task = task_class.deserialize(claim.payload)
    except (UnknownModuleError, UnknownCallableError) as error:
        return _unroutable(claim, error)
    except ForbiddenCallableError as error:
        logger.error("security: refused task %s: %s", claim.id, error)
        return Failed(_failure(error), error, started=False)
    except BaseException as error:  # a stored row, or code of the user, may do anything
        return Failed(_failure(error), error, started=False)
    task.queue = claim.queue
    return task


def attempt(task: Task, failures: int, context: TaskContext) -> Outcome:
    """Run ``task`` once. ``failures`` counts its failed attempts if this one fails too."""
    try:
        value = run(task, context)
    except BaseException as error:  # SystemExit and the like fail the task, not the worker
        return _after_error(task, failures, context, error)
    return _succeeded(task, value, context)


def run(task: Task, context: TaskContext) -> Any:
    """Run ``task`` on this thread in its context, which can stop it.

    Raises:
        BaseException: What the task raised.
    """
    with context.current():
        context.begin(task.task_id, task.timeout)
        return threadstops.call(context, task.run)


def fallback(
    claim: Claim, task_class: type[Task], policy: callables.Policy
) -> tuple[float, Payload] | None:
    """Return delay and payload of the next attempt if this one dies without a word, or None.

    A process that dies runs no hooks, and cannot tell any more what was to become of its task.
    """
    if claim.payload is None:
        return None
    with policy.active():
        task = task_class.deserialize(claim.payload)
        if task.retries <= 0:
            return None
        outcome = _after_failure(task, claim.attempts - claim.crashes, Failure("", ""), ChildDied())
    return (outcome.delay, outcome.payload) if isinstance(outcome, Retried) else None


def given_up(why: Interrupted | None, how: str, last_will: tuple[float, Payload] | None) -> Outcome:
    """Return what becomes of a task that had to stop because of ``why`` and ended without a word.

    Args:
        why: Why it had to.
        how: What was done with it, for the error.
        last_will: What :func:`fallback` has returned for it.
    """
    match why:
        case TaskTimeout():
            return dead(Failure("TaskTimeout", f"{why}; {how}", reason="timeout"), last_will)
        case TaskCanceled():
            return Canceled(Failure("TaskCanceled", f"{why}; {how}", reason="canceled"))
    return Released()


def dead(failure: Failure, last_will: tuple[float, Payload] | None) -> Outcome:
    """Return what becomes of a task that has ended without a word: the next attempt, or none."""
    return Failed(failure) if last_will is None else Retried(last_will[0], failure, last_will[1])


def _succeeded(task: Task, value: Any, context: TaskContext) -> Succeeded:
    outcome = with_result(value) if task.keep_result else Succeeded(value)
    return replace(outcome, completed=True) if context.completed else outcome


def _after_error(task: Task, failures: int, context: TaskContext, error: BaseException) -> Outcome:
    why = context.interruption
    if why is not None and isinstance(error, Interrupted | asyncio.CancelledError):
        return _after_interruption(task, failures, why, error)
    match error:
        case Snooze(delay=delay):
            return Snoozed(delay, error)
        case Discard():
            return Failed(_failure(error, "discarded"), error)
        case Retry(delay=delay):
            return _after_failure(task, failures, _failure(error), error, delay)
        case LeaseLost():  # the store has told complete() that the task is not ours any more
            return Released()
    return _after_failure(task, failures, _failure(error), error)


def _after_interruption(
    task: Task, failures: int, why: Interrupted, error: BaseException
) -> Outcome:
    where = _failure(error).traceback
    match why:
        case TaskTimeout():
            failure = Failure("TaskTimeout", str(why), where, "timeout")
            return _after_failure(task, failures, failure, error)
        case TaskCanceled():
            return Canceled(Failure("TaskCanceled", str(why), where, "canceled"), error)
    return Released()


def _after_failure(
    task: Task,
    failures: int,
    failure: Failure,
    error: BaseException,
    delay: float | None = None,
) -> Outcome:
    try:
        if task.retries <= 0:
            return Failed(failure, error)
        task.retries -= 1
        task.to_retrying()
        if delay is None:
            delay = delay_after(max(1, failures), check_backoff(task.backoff))
        payload = task.serialize()
    except Exception as problem:  # a hook may have made the task impossible to store
        return Failed(_failure(problem), error)
    return Retried(delay, failure, payload, error)


def with_result(value: Any) -> Succeeded:
    """Return the success of a task whose result is kept, if it can be."""
    try:
        text = jsontext.dumps(value, "result")
    except PayloadError as error:
        return Succeeded(value, problem=clean(str(error)))
    except Exception as error:  # the value's own code runs while it is encoded
        return Succeeded(value, problem=clean(f"result: {type(error).__name__}: {error}"))
    if len(text) > LARGEST_RESULT:
        return Succeeded(
            value, problem=f"result has {len(text)} bytes of JSON, {LARGEST_RESULT} are kept."
        )
    return Succeeded(value, text)


def _unroutable(claim: Claim, error: AlligatorException) -> Outcome:
    """Put a task back that this worker cannot import: a newer worker may know it."""
    if claim.age >= UNROUTABLE_GIVE_UP:
        return Failed(_failure(error, "unroutable"), error, started=False)
    logger.error("unroutable task %s (%s), put back: %s", claim.id, claim.func, error)
    delay = min(max(claim.age, UNROUTABLE_SHORTEST), UNROUTABLE_LONGEST)
    return Snoozed(delay * jitter.uniform(0.8, 1.2), error)


def _failure(error: BaseException, reason: str | None = None) -> Failure:
    try:
        message = str(error)
    except Exception:  # the str of a foreign exception may do anything
        message = "<no message>"
    lines = traceback.format_exception(type(error), error, error.__traceback__)
    return Failure(type(error).__name__, clean(message), clean("".join(lines)), reason)


def clean(text: str) -> str:
    """Return ``text`` as every store can hold it and anybody may read it.

    Without NUL and lone surrogates, not endless, and with passwords masked.
    """
    if len(text) > LONGEST_ERROR_TEXT:
        text = text[:LONGEST_ERROR_TEXT] + " [cut]"
    text = hide_password(text).replace("\x00", "\\x00")
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
