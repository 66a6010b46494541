"""What a task stores."""

import json

import pytest

from alligator_sql import InvalidOptionError, PayloadError, Task

from . import functions


def stored(task: Task) -> dict[str, object]:
    data = task.serialize()
    assert isinstance(data, str)
    return dict(json.loads(data))


def test_a_plain_call_takes_few_bytes() -> None:
    task = Task("t")
    task.to_call(functions.add, 1)
    assert stored(task) == {"task_id": "t", "func": "tests.unit.functions:add", "args": [1]}


def test_options_that_are_not_given_are_not_stored() -> None:
    task = Task("t", expires=60)
    task.to_call(functions.add, 1)
    assert stored(task).keys() == {"task_id", "func", "args"}


def test_a_stored_task_knows_its_options() -> None:
    task = Task("t", queue="mail", priority=5, unique_key="k", tags=["x"])
    task.to_call(functions.add, 1)
    again = Task.deserialize(task.serialize())
    assert (again.queue, again.priority, again.unique_key, again.tags) == ("mail", 5, "k", ("x",))


def test_options_of_the_worker_are_stored() -> None:
    task = Task("t", 3, on_error=functions.clumsy_hook, backoff=[1, 2], keep_result=True)
    task.to_call(functions.add, 1, b=2)
    assert stored(task) == {
        "task_id": "t",
        "func": "tests.unit.functions:add",
        "args": [1],
        "kwargs": {"b": 2},
        "retries": 3,
        "options": {
            "on_error": "tests.unit.functions:clumsy_hook",
            "backoff": [1, 2],
            "keep_result": True,
        },
    }
    back = Task.deserialize(task.serialize())
    assert (back.backoff, back.keep_result) == ([1, 2], True)


def test_a_task_that_is_not_async_stays_so() -> None:
    task = Task(is_async=False)
    task.to_call(functions.add, 1)
    assert Task.deserialize(task.serialize()).is_async is False


def test_a_task_without_a_function_can_be_neither_stored_nor_run() -> None:
    with pytest.raises(InvalidOptionError, match="to_call"):
        Task().serialize()
    with pytest.raises(InvalidOptionError, match="to_call"):
        Task().run()


def test_retries_may_be_a_text_with_a_number() -> None:
    """As in Alligator, which took them from settings."""
    assert Task(retries="3").retries == 3  # type: ignore[arg-type]


def test_a_changed_signature_does_not_keep_a_task_from_being_read() -> None:
    """The call was checked when it was enqueued; the code may have been deployed since."""
    data = {"task_id": "t", "func": "tests.unit.functions:add", "kwargs": {"gone": 1}}
    task = Task.deserialize(json.dumps(data))
    with pytest.raises(TypeError, match="gone"):
        task.run()


def test_an_async_function_runs_to_its_end() -> None:
    task = Task()
    task.to_call(functions.add_later, 1, 2)
    assert task.run() == 3


def test_what_cannot_be_stored_names_the_place() -> None:
    task = Task()
    task.to_call(functions.add, object())
    with pytest.raises(PayloadError, match=r"task\['args'\]\[0\]"):
        task.serialize()
