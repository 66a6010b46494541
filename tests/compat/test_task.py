"""``Task`` as Alligator 1.0 documents it, without any store."""

import inspect
import time
from typing import Any

import pytest

from alligator_sql import (
    CANCELED,
    FAILED,
    RETRYING,
    SUCCESS,
    WAITING,
    MultipleDelayError,
    Task,
    UnknownCallableError,
)

from . import tasks


def test_its_parameters_keep_their_order_and_defaults() -> None:
    positional = {
        parameter.name: parameter.default
        for parameter in inspect.signature(Task).parameters.values()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    }
    assert list(positional.items()) == [
        ("task_id", None),
        ("retries", 0),
        ("is_async", True),
        ("on_start", None),
        ("on_success", None),
        ("on_error", None),
        ("depends_on", None),
        ("delay_by", None),
        ("delay_until", None),
    ]


def test_it_takes_them_by_position() -> None:
    task = Task(
        "my-id", 3, False, tasks.on_start, tasks.on_success, tasks.on_error, None, None, 2e9
    )
    assert (task.task_id, task.retries, task.is_async) == ("my-id", 3, False)
    assert (task.on_start, task.on_success) == (tasks.on_start, tasks.on_success)
    assert (task.on_error, task.depends_on) == (tasks.on_error, None)
    assert task.delay_until == 2e9


def test_its_defaults() -> None:
    task = Task()
    assert len(task.task_id) == 36
    assert task.task_id != Task().task_id
    assert (task.status, task.retries, task.is_async) == (WAITING, 0, True)
    assert (task.func, list(task.func_args), task.func_kwargs) == (None, [], {})
    assert task.delay_until is None
    assert task.result is None


def test_delay_by_becomes_a_moment() -> None:
    task = Task(delay_by=60)
    assert task.delay_until == pytest.approx(time.time() + 60, abs=5)


def test_both_delays_are_too_many() -> None:
    with pytest.raises(MultipleDelayError):
        Task(delay_by=1, delay_until=2)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (Task.to_waiting, WAITING),
        (Task.to_success, SUCCESS),
        (Task.to_failed, FAILED),
        (Task.to_canceled, CANCELED),
        (Task.to_retrying, RETRYING),
    ],
)
def test_its_status_can_be_set(change: Any, status: int) -> None:
    task = Task()
    task.status = -1
    change(task)
    assert task.status == status


def test_run_calls_the_function(journal: list[Any]) -> None:
    task = Task(on_start=tasks.on_start, on_success=tasks.on_success)
    task.to_call(tasks.add, 1, b=2)
    assert task.run() == 3
    assert (task.result, task.status) == (3, SUCCESS)
    assert [entry[0] for entry in journal] == ["start", "success"]


def test_run_raises_after_on_error(journal: list[Any]) -> None:
    task = Task(on_error=tasks.on_error)
    task.to_call(tasks.fail, "broken")
    with pytest.raises(ValueError, match="broken"):
        task.run()
    assert task.status == FAILED
    assert journal == ["broken", ("error", FAILED, "broken")]


def test_it_comes_back_from_its_text() -> None:
    task = Task(
        task_id="my-id",
        retries=4,
        on_start=tasks.on_start,
        on_success=tasks.on_success,
        on_error=tasks.on_error,
        delay_until=2_000_000_000.5,
    )
    task.to_call(tasks.add, 1, b=2)
    back = Task.deserialize(task.serialize())
    assert (back.task_id, back.retries, back.is_async) == ("my-id", 4, True)
    assert (back.func, back.func_args, back.func_kwargs) == (tasks.add, (1,), {"b": 2})
    assert back.on_start is tasks.on_start
    assert back.on_success is tasks.on_success
    assert back.on_error is tasks.on_error
    assert back.delay_until == 2_000_000_000.5
    assert back.status == WAITING


def test_a_hook_that_cannot_be_imported_cannot_be_stored() -> None:
    task = Task(on_start=lambda task: None)
    task.to_call(tasks.add, 1, 2)
    with pytest.raises(UnknownCallableError, match="lambda"):
        task.serialize()
