"""The methods of a gator as Alligator 1.0 documents them."""

import inspect
from typing import Any

import pytest

from alligator_sql import (
    ALL,
    CANCELED,
    FAILED,
    RETRYING,
    SUCCESS,
    WAITING,
    Gator,
    MultipleDelayError,
    Task,
)

from . import tasks


def test_its_parameters_keep_their_order() -> None:
    positional = [
        parameter.name
        for parameter in inspect.signature(Gator).parameters.values()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ]
    assert positional == ["conn_string", "queue_name", "task_class", "backend_class"]


def test_its_attributes(gator: Gator, conn_string: str) -> None:
    assert gator.conn_string == conn_string
    assert gator.queue_name == ALL
    assert gator.task_class is Task
    assert gator.backend_class is None
    assert type(gator.build_backend("locmem://")).__name__ == "LocalMemoryBackend"
    assert gator.backend.len(ALL) == 0


def test_task_returns_the_task(gator: Gator) -> None:
    task = gator.task(tasks.add, 1, b=2)
    assert isinstance(task, Task)
    assert (task.func, task.func_args, task.func_kwargs) == (tasks.add, (1,), {"b": 2})
    assert task.status == WAITING


def test_push_takes_a_task_that_was_made_by_hand(gator: Gator) -> None:
    task = Task(retries=2)
    assert gator.push(task, tasks.add, 1, 2) is task
    assert gator.pop() == 3


def test_len_counts_what_waits_and_what_is_delayed(gator: Gator) -> None:
    gator.task(tasks.add, 1, 2)
    gator.options(delay_by=60).task(tasks.add, 1, 2)
    assert gator.len() == 2
    gator.pop()
    assert gator.len() == 1


def test_len_does_not_count_what_runs(gator: Gator, conn_string: str) -> None:
    gator.task(count_tasks, conn_string)
    assert gator.pop() == 0


def count_tasks(conn_string: str) -> int:
    other = Gator(conn_string)
    try:
        return other.len()
    finally:
        other.close()


def test_pop_runs_the_tasks_in_their_order(gator: Gator) -> None:
    for number in range(5):
        gator.task(tasks.add, number, 0)
    assert [gator.pop() for _ in range(5)] == [0, 1, 2, 3, 4]
    assert gator.pop() is None


def test_pop_raises_what_the_task_raised(gator: Gator, journal: list[Any]) -> None:
    task = gator.task(tasks.fail, "broken")
    with pytest.raises(ValueError, match=r"^broken$"):
        gator.pop()
    record = gator.find(task.task_id)
    assert record is not None
    assert (record.status, record.error) == (FAILED, "ValueError: broken")


def test_pop_returns_none_while_retries_are_left(gator: Gator, journal: list[Any]) -> None:
    task = gator.options(retries=1, backoff=0).task(tasks.fail_at_first, 1)
    assert gator.pop() is None
    assert gator.len() == 1
    record = gator.find(task.task_id)
    assert record is not None
    assert record.status == RETRYING
    assert gator.pop() == "at last"


def test_get_runs_exactly_the_task_with_this_id(gator: Gator, journal: list[Any]) -> None:
    first, second, third = (gator.task(tasks.note, name) for name in ("first", "second", "third"))
    assert gator.get(second.task_id) == "second"
    assert journal == ["second"]
    assert gator.len() == 2
    states = []
    for task in (first, second, third):
        record = gator.find(task.task_id)
        assert record is not None
        states.append(record.status)
    assert states == [WAITING, SUCCESS, WAITING]


def test_get_does_not_wait_for_a_delay(gator: Gator) -> None:
    task = gator.options(delay_by=300).task(tasks.add, 1, 2)
    assert gator.get(task.task_id) == 3


def test_get_runs_a_task_only_once(gator: Gator) -> None:
    task = gator.task(tasks.add, 1, 2)
    assert gator.get(task.task_id) == 3
    assert gator.get(task.task_id) is None
    assert gator.get("never-enqueued") is None


def test_cancel_returns_the_task(gator: Gator, journal: list[Any]) -> None:
    task = gator.options(retries=2).task(tasks.note, "canceled")
    canceled = gator.cancel(task.task_id)
    assert canceled is not None
    assert (canceled.task_id, canceled.status) == (task.task_id, CANCELED)
    assert (canceled.func, canceled.func_args) == (tasks.note, ("canceled",))
    assert canceled.retries == 2
    assert gator.len() == 0
    assert gator.pop() is None
    assert journal == []


def test_cancel_returns_none_when_there_is_nothing_to_cancel(gator: Gator) -> None:
    task = gator.task(tasks.add, 1, 2)
    gator.pop()
    assert gator.cancel(task.task_id) is None
    assert gator.cancel("never-enqueued") is None


def test_a_canceled_task_can_be_enqueued_anew(gator: Gator) -> None:
    task = gator.task(tasks.add, 1, 2)
    canceled = gator.cancel(task.task_id)
    assert canceled is not None
    assert canceled.func is not None
    gator.task(canceled.func, *canceled.func_args, **canceled.func_kwargs)
    assert gator.pop() == 3


def test_an_id_of_the_user_is_kept(gator: Gator, journal: list[Any]) -> None:
    with gator.options(task_id="invoice № 42", on_start=note_task_id) as opts:
        assert opts.task(tasks.note, "sent").task_id == "invoice № 42"
    record = gator.find("invoice № 42")
    assert record is not None
    assert record.status == WAITING
    assert gator.get("invoice № 42") == "sent"
    assert journal == ["invoice № 42", "sent"]


def note_task_id(task: Task) -> None:
    tasks.journal.append(task.task_id)


def test_an_id_of_the_user_is_stored_once(gator: Gator) -> None:
    first = gator.options(task_id="invoice-42").task(tasks.add, 1, 2)
    second = gator.options(task_id="invoice-42").task(tasks.add, 5, 6)
    assert not first.duplicate
    assert second.duplicate
    assert second.func_args == (1, 2)
    assert gator.len() == 1
    canceled = gator.cancel("invoice-42")
    assert canceled is not None
    assert canceled.task_id == "invoice-42"


def test_execute_runs_a_task_here(gator: Gator) -> None:
    task = Task(is_async=False)
    task.to_call(tasks.add, 101, 35)
    assert gator.execute(task) == 136
    assert (task.status, task.result) == (SUCCESS, 136)


def test_execute_tries_again_at_once_when_not_async(gator: Gator, journal: list[Any]) -> None:
    task = Task(is_async=False, retries=5)
    task.to_call(tasks.fail_at_first, 3)
    assert gator.execute(task) == "at last"
    assert task.retries == 2


def test_execute_puts_an_async_task_back(gator: Gator, journal: list[Any]) -> None:
    task = Task(retries=1)
    task.to_call(tasks.fail_at_first, 1)
    assert gator.execute(task) is None
    assert (task.status, task.retries) == (RETRYING, 0)
    assert gator.len() == 1
    assert gator.pop() == "at last"


def test_execute_drops_the_delay_of_a_retry(gator: Gator, journal: list[Any]) -> None:
    task = Task(retries=1, delay_by=60)
    task.to_call(tasks.fail_at_first, 1)
    assert gator.execute(task) is None
    assert gator.pop() == "at last"


def test_execute_raises_when_the_task_cannot_go_back(gator: Gator, journal: list[Any]) -> None:
    """Its id was used: nothing would be stored, and the retry would be lost in silence."""
    task = gator.options(retries=5).task(tasks.fail, "broken")
    canceled = gator.cancel(task.task_id)
    assert canceled is not None
    with pytest.raises(ValueError, match=r"^broken$"):
        gator.execute(canceled)


def test_execute_raises_once_the_retries_are_spent(gator: Gator, journal: list[Any]) -> None:
    task = Task()
    task.to_call(tasks.fail, "broken")
    with pytest.raises(ValueError, match=r"^broken$"):
        gator.execute(task)
    assert gator.len() == 0


def test_delay_by_and_delay_until_exclude_each_other(gator: Gator) -> None:
    with pytest.raises(MultipleDelayError, match="delay_by or delay_until"):
        gator.options(delay_by=1, delay_until=2).task(tasks.add, 1, 2)
    assert gator.len() == 0
