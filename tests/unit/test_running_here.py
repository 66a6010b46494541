"""Tasks that run in the process that asks for it: pop, get, execute, is_async=False."""

import time
from typing import Any
from uuid import uuid4

import pytest

from alligator_sql import Discard, Gator, Retry, TaskTimeout, current_task
from alligator_sql.constants import FAILED, RETRYING, WAITING
from tests.helpers import PATIENCE

from . import functions
from .test_verdicts import discard, snooze, spin, tell_progress, try_again, who_am_i


@pytest.fixture
def gator() -> Gator:
    return Gator(f"locmem://{uuid4()}")


def status_of(gator: Gator, task_id: str) -> int:
    record = gator.find(task_id)
    assert record is not None
    return record.status


def test_a_popped_task_knows_itself(gator: Gator) -> None:
    gator.options(task_id="me").task(who_am_i)
    assert gator.pop() == ["me", 1]


def test_a_popped_task_may_tell_its_progress(gator: Gator) -> None:
    gator.task(tell_progress, "half")
    assert gator.pop() == "half"


def test_a_popped_task_that_snoozes_waits(gator: Gator) -> None:
    task = gator.task(snooze, 60)
    assert gator.pop() is None
    assert status_of(gator, task.task_id) == WAITING
    assert gator.len() == 1


def test_a_popped_task_that_runs_too_long(gator: Gator) -> None:
    task = gator.options(timeout=0.05).task(spin)
    with pytest.raises(TaskTimeout):
        gator.pop()
    assert status_of(gator, task.task_id) == FAILED


def test_an_executed_task_knows_itself(gator: Gator) -> None:
    task = gator.task(who_am_i)
    assert gator.execute(task) == [task.task_id, 1]


def executed(gator: Gator, func: Any, *args: Any, **options: Any) -> tuple[Any, str]:
    """Take a task out of the queue, and execute it."""
    task = gator.options(**options).task(func, *args)
    gator.store.drop_all(gator.queue_name)
    return gator.execute(task), task.task_id


def test_an_executed_task_that_snoozes_goes_back(gator: Gator) -> None:
    value, task_id = executed(gator, snooze, 60)
    record = gator.find(task_id)
    assert value is None
    assert record is not None
    assert 50 < (record.run_at - record.created_at).total_seconds() < 70


def test_an_executed_task_goes_back_with_the_delay_it_asks_for(gator: Gator) -> None:
    _, task_id = executed(gator, try_again, 60, retries=1)
    record = gator.find(task_id)
    assert record is not None
    assert 50 < (record.run_at - record.created_at).total_seconds() < 70


def test_a_discarded_task_does_not_go_back(gator: Gator) -> None:
    with pytest.raises(Discard):
        executed(gator, discard, retries=5)
    assert gator.len() == 0


def test_a_call_at_once_that_runs_too_long(gator: Gator) -> None:
    started = time.monotonic()
    with pytest.raises(TaskTimeout):
        gator.options(is_async=False, timeout=0.05).task(spin)
    assert time.monotonic() - started < PATIENCE


@pytest.mark.parametrize(("func", "runs"), [(try_again, 3), (discard, 1)])
def test_a_call_at_once_with_a_verdict(
    gator: Gator, journal: list[Any], func: Any, runs: int
) -> None:
    arguments = [0] if func is try_again else []
    options = {"retries": 2, "on_start": count_attempt, "backoff": 0}
    with pytest.raises((Retry, Discard)):
        gator.options(is_async=False, **options).task(func, *arguments)
    assert len(journal) == runs


def count_attempt(task: Any) -> None:
    functions.journal.append((task.status == RETRYING, current_task().attempt))
