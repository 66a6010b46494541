"""Hooks: functions that are called around the task and may change it."""

from typing import Any

import pytest

from alligator_sql import FAILED, SUCCESS, WAITING, Gator, TaskFailedError, Worker

from . import tasks


def test_on_start_and_on_success(gator: Gator, journal: list[Any]) -> None:
    with gator.options(on_start=tasks.on_start, on_success=tasks.on_success) as opts:
        opts.task(tasks.add, 2, 3)
    assert gator.pop() == 5
    assert journal == [("start", (2, 3), WAITING), ("success", SUCCESS, 5)]


def test_on_error_is_called_at_each_failure(gator: Gator, journal: list[Any]) -> None:
    with gator.options(retries=1, backoff=0, on_error=tasks.on_error) as opts:
        opts.task(tasks.fail, "broken")
    Worker(gator, burst=True).run_forever()
    assert journal == ["broken", ("error", FAILED, "broken")] * 2


def test_on_success_is_not_called_after_a_failure(gator: Gator, journal: list[Any]) -> None:
    gator.options(on_success=tasks.on_success).task(tasks.fail)
    with pytest.raises(ValueError, match="no"):
        gator.pop()
    assert journal == ["no"]


def test_on_error_may_add_retries(gator: Gator, journal: list[Any]) -> None:
    task = gator.options(backoff=0, on_error=tasks.one_retry_more).task(tasks.fail_at_first, 4)
    Worker(gator, burst=True).run_forever()
    assert journal == ["attempt"] * 5
    record = gator.find(task.task_id)
    assert record is not None
    assert (record.status, record.attempts) == (SUCCESS, 5)


def test_on_error_may_take_retries_away(gator: Gator, journal: list[Any]) -> None:
    gator.options(retries=9, backoff=0, on_error=tasks.no_more_retries).task(tasks.fail)
    Worker(gator, burst=True).run_forever()
    assert journal == ["no"]


def test_what_on_error_changes_is_stored_for_the_retry(gator: Gator, journal: list[Any]) -> None:
    opts = gator.options(retries=1, backoff=0, on_error=tasks.next_time_add_ten)
    opts.task(tasks.fail_at_first, 99)
    Worker(gator, burst=True).run_forever()
    assert journal == ["attempt"] * 2
    assert gator.len() == 0


def test_an_on_start_that_raises_fails_the_task(gator: Gator, journal: list[Any]) -> None:
    opts = gator.options(on_start=tasks.refuse_to_start, on_error=tasks.on_error, task_id="t-1")
    opts.task(tasks.note, "ran")
    Worker(gator, burst=True).run_forever()
    assert journal == [("error", FAILED, "not today, t-1")]
    with pytest.raises(TaskFailedError, match="PermissionError: not today"):
        gator.result("t-1", timeout=0)


def test_hooks_of_a_task_in_process_may_be_closures(gator: Gator) -> None:
    seen: list[Any] = []
    opts = gator.options(is_async=False, on_success=lambda task, result: seen.append(result))
    opts.task(tasks.add, 1, 2)
    assert seen == [3]
