"""What becomes of a task that says so itself, is canceled, or runs too long."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from alligator_sql import Discard, Retry, Snooze, Task, TaskContext, current_task
from alligator_sql.callables import Policy
from alligator_sql.exceptions import (
    Interrupted,
    InvalidOptionError,
    LeaseLost,
    TaskCanceled,
    WorkerStopping,
)
from alligator_sql.execution import aperform, fallback, perform
from alligator_sql.messages import Claim
from alligator_sql.outcomes import Canceled, Failed, Outcome, Released, Snoozed, Succeeded
from alligator_sql.outcomes import Retry as Retried
from tests.helpers import PATIENCE, Background, wait_until

from . import functions
from .test_execution import claim_of, stored

Perform = Callable[[Claim, TaskContext], Outcome]


def on_a_thread(claim: Claim, context: TaskContext) -> Outcome:
    return perform(claim, Task, Policy(), context)


def on_a_loop(claim: Claim, context: TaskContext) -> Outcome:
    return asyncio.run(aperform(claim, Task, Policy(), context))


@pytest.fixture(params=[on_a_thread, on_a_loop])
def run(request: pytest.FixtureRequest) -> Perform:
    runner: Perform = request.param
    return runner


def outcome_of(run: Perform, func: Any, *args: Any, **options: Any) -> Outcome:
    claim = claim_of(stored(func, *args, **options))
    return run(claim, TaskContext(claim))


def try_again(delay: float) -> None:
    raise Retry(delay, "the other side is busy")


def snooze(delay: float) -> None:
    current_task().snooze(delay)


async def snooze_later(delay: float) -> None:
    await asyncio.sleep(0)
    raise Snooze(delay)


def discard() -> None:
    raise Discard("the account is gone")


def who_am_i() -> list[Any]:
    context = current_task()
    return [context.id, context.attempt]


async def who_am_i_later() -> list[Any]:
    await asyncio.sleep(0)
    return who_am_i()


def hook_in_context(task: Task, value: Any = None) -> None:
    functions.journal.append(current_task().id)


def tell_progress(message: str) -> str:
    current_task().progress(50, message)
    return message


def spin(seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        pass


async def sleep(seconds: float = PATIENCE) -> None:
    await asyncio.sleep(seconds)


async def tidy_up_late() -> None:
    try:
        await asyncio.sleep(PATIENCE)
    finally:
        functions.journal.append(f"tidied up: {current_task().should_stop}")


def wait_politely() -> str:
    current_task().wait(PATIENCE)
    return "done anyway"


def test_retry_has_its_own_delay(run: Perform) -> None:
    outcome = outcome_of(run, try_again, 12.5, retries=2, backoff=99)
    assert isinstance(outcome, Retried)
    assert outcome.delay == 12.5
    assert (outcome.failure.kind, outcome.failure.message) == ("Retry", "the other side is busy")
    assert Task.deserialize(outcome.payload).retries == 1


def test_retry_fails_when_no_retry_is_left(run: Perform) -> None:
    outcome = outcome_of(run, try_again, 1)
    assert isinstance(outcome, Failed)
    assert outcome.failure.kind == "Retry"


@pytest.mark.parametrize("func", [snooze, snooze_later])
def test_snooze_puts_back(run: Perform, func: Any) -> None:
    outcome = outcome_of(run, func, 60)
    assert isinstance(outcome, Snoozed)
    assert outcome.delay == 60


def test_a_snooze_is_no_error_for_hooks(run: Perform, journal: list[Any]) -> None:
    outcome_of(run, snooze, 60, on_error=hook_in_context, on_success=hook_in_context)
    assert journal == []


def test_discard_fails_at_once(run: Perform) -> None:
    outcome = outcome_of(run, discard, retries=5)
    assert isinstance(outcome, Failed)
    assert outcome.started
    failure = outcome.failure
    assert (failure.reason, failure.message) == ("discarded", "the account is gone")


@pytest.mark.parametrize("verdict", [Retry, Snooze])
@pytest.mark.parametrize("delay", [-1, float("nan"), "soon", 10.0**11])
def test_a_delay_that_is_none(verdict: Any, delay: Any) -> None:
    with pytest.raises(InvalidOptionError, match="delay="):
        verdict(delay)


@pytest.mark.parametrize("func", [who_am_i, who_am_i_later])
def test_a_task_knows_itself(run: Perform, func: Any) -> None:
    claim = claim_of(stored(func, task_id="me", keep_result=True), attempts=4)
    assert run(claim, TaskContext(claim)) == Succeeded(["me", 4], '["me",4]')


def test_hooks_run_in_the_context(run: Perform, journal: list[Any]) -> None:
    hooks = {"on_start": hook_in_context, "on_success": hook_in_context}
    outcome_of(run, functions.echo, "the task", task_id="me", **hooks)
    assert journal == ["me", "the task", "me"]


# Time that is over


@pytest.mark.parametrize(
    ("run", "func"), [(on_a_thread, spin), (on_a_thread, sleep), (on_a_loop, sleep)]
)
def test_a_timeout_is_a_failure(run: Perform, func: Any) -> None:
    started = time.monotonic()
    outcome = outcome_of(run, func, timeout=1)
    assert time.monotonic() - started < PATIENCE
    assert isinstance(outcome, Failed)
    failure = outcome.failure
    assert (failure.kind, failure.reason) == ("TaskTimeout", "timeout")
    assert failure.message == "ran longer than its timeout of 1 s"
    assert f"in {func.__name__}" in failure.traceback


@pytest.mark.parametrize(("run", "func"), [(on_a_thread, spin), (on_a_loop, sleep)])
def test_a_timeout_is_retried(run: Perform, func: Any) -> None:
    outcome = outcome_of(run, func, timeout=0.05, retries=1, backoff=3)
    assert isinstance(outcome, Retried)
    assert (outcome.delay, outcome.failure.reason) == (3, "timeout")
    assert Task.deserialize(outcome.payload).timeout == 0.05


def test_a_task_in_time_is_left_alone(run: Perform) -> None:
    assert outcome_of(run, functions.add, 1, 2, timeout=PATIENCE) == Succeeded(3)


def test_a_coroutine_can_tidy_up(run: Perform, journal: list[Any]) -> None:
    outcome = outcome_of(run, tidy_up_late, timeout=1)
    assert isinstance(outcome, Failed)
    assert outcome.failure.reason == "timeout"
    assert journal == ["tidied up: True"]


# Interruptions from outside


def interrupted(run: Perform, why: Interrupted, func: Any, **options: Any) -> Outcome:
    claim = claim_of(stored(func, **options))
    context = TaskContext(claim)
    began = options.get("task_id", str(claim.id))
    running = Background(lambda: run(claim, context))
    wait_until(lambda: context._stop is not None and context.id == began)
    context.interrupt(why)
    outcome: Outcome = running.result()
    return outcome


BOTH_WAYS = pytest.mark.parametrize(("run", "func"), [(on_a_thread, spin), (on_a_loop, sleep)])


@BOTH_WAYS
def test_a_canceled_task_ends_as_that(run: Perform, func: Any) -> None:
    outcome = interrupted(run, TaskCanceled("canceled while it ran"), func, retries=3, task_id="t")
    assert isinstance(outcome, Canceled)
    assert (outcome.failure.kind, outcome.failure.reason) == ("TaskCanceled", "canceled")


@BOTH_WAYS
def test_a_task_whose_lease_is_lost_is_given_up(run: Perform, func: Any) -> None:
    assert interrupted(run, LeaseLost("gone"), func, task_id="t") == Released()


def test_a_coroutine_of_a_stopping_worker_is_given_up() -> None:
    assert interrupted(on_a_loop, WorkerStopping("stop"), sleep, task_id="t") == Released()


def test_a_thread_of_a_stopping_worker_is_told() -> None:
    outcome = interrupted(on_a_thread, WorkerStopping("stop"), wait_politely, task_id="t")
    assert outcome == Succeeded("done anyway")


# A process that dies without a word


def test_the_last_will_of_a_task_with_retries() -> None:
    claim = claim_of(stored(functions.echo, retries=2, backoff=[5, 50]), attempts=2)
    will = fallback(claim, Task, Policy())
    assert will is not None
    delay, payload = will
    assert delay == 50
    assert Task.deserialize(payload).retries == 1


def test_a_task_without_retries_has_no_last_will() -> None:
    assert fallback(claim_of(stored(functions.echo)), Task, Policy()) is None
