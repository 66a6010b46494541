"""Running a claimed task: from a claim to an outcome, without any store.

Nothing raises out of here. What a task, a hook or a stored row does wrong becomes the
outcome of that one task.
"""

import logging
import random
import time
import traceback
from typing import Any

from . import callables, jsontext
from .exceptions import (
    AlligatorException,
    ForbiddenCallableError,
    PayloadError,
    UnknownCallableError,
    UnknownModuleError,
)
from .messages import Claim, Failure
from .outcomes import Failed, Outcome, Retry, Snoozed, Succeeded
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


def perform(claim: Claim, task_class: type[Task], policy: callables.Policy) -> Outcome:
    """Load the task of ``claim``, run it and return what became of it."""
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
        with policy.active():
            task = task_class.deserialize(claim.payload)
    except (UnknownModuleError, UnknownCallableError) as error:
        return _unroutable(claim, error)
    except ForbiddenCallableError as error:
        logger.error("security: refused task %s: %s", claim.id, error)
        return Failed(_failure(error), error, started=False)
    except BaseException as error:  # a stored row, or code of the user, may do anything
        return Failed(_failure(error), error, started=False)
    task.queue = claim.queue
    with policy.active():  # a retry is serialized, with whatever a hook has put in
        return attempt(task, claim.attempts - claim.crashes)


def attempt(task: Task, failures: int) -> Outcome:
    """Run ``task`` once. ``failures`` counts its failed attempts if this one fails too."""
    try:
        value = task.run()
    except BaseException as error:  # SystemExit and the like fail the task, not the worker
        return _after_failure(task, failures, error)
    if not task.keep_result:
        return Succeeded(value)
    return _with_result(value)


def _after_failure(task: Task, failures: int, error: BaseException) -> Outcome:
    failure = _failure(error)
    try:
        if task.retries <= 0:
            return Failed(failure, error)
        task.retries -= 1
        task.to_retrying()
        delay = delay_after(max(1, failures), check_backoff(task.backoff))
        payload = task.serialize()
    except Exception as problem:  # a hook may have made the task impossible to store
        return Failed(_failure(problem), error)
    return Retry(delay, failure, payload, error)


def _with_result(value: Any) -> Succeeded:
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
        failure = _failure(error)
        return Failed(
            Failure(failure.kind, failure.message, failure.traceback, "unroutable"),
            error,
            started=False,
        )
    logger.error("unroutable task %s (%s), put back: %s", claim.id, claim.func, error)
    delay = min(max(claim.age, UNROUTABLE_SHORTEST), UNROUTABLE_LONGEST)
    return Snoozed(delay * random.uniform(0.8, 1.2), error)


def _failure(error: BaseException) -> Failure:
    try:
        message = str(error)
    except Exception:  # the str of a foreign exception may do anything
        message = "<no message>"
    lines = traceback.format_exception(type(error), error, error.__traceback__)
    return Failure(type(error).__name__, clean(message), clean("".join(lines)))


def clean(text: str) -> str:
    """Return ``text`` as every store can hold it and anybody may read it.

    Without NUL and lone surrogates, not endless, and with passwords masked.
    """
    if len(text) > LONGEST_ERROR_TEXT:
        text = text[:LONGEST_ERROR_TEXT] + " [cut]"
    text = hide_password(text).replace("\x00", "\\x00")
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
