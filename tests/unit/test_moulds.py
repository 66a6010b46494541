"""Many calls at once are what one call after the other would be."""

import asyncio
import json
import math
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from alligator_sql import Gator, PayloadError, SignatureError, Task, UnknownCallableError
from alligator_sql.messages import Message
from alligator_sql.moulds import BATCH_BYTES, Mould

from . import functions

ITEMS: list[Any] = [
    1, -2.5, None, True, "text", 'a "quoted" \\ backslash', "NUL \x00, lone \ud800, \U0001f40a",
    "\x7f", [], {}, [1, [2, (3,)]], {"key": {"inner": ["x"]}}, "{}", "task_id", 10**30,
]  # fmt: skip
OPTIONS: list[dict[str, Any]] = [
    {},
    {"retries": 3, "backoff": [1, 2], "timeout": 4.5, "priority": 7, "tags": ["a", "b"]},
    {"delay_by": 60, "expires": 3600, "unique_key": "one", "queue": "mail", "keep_result": True},
    {"delay_until": 4_000_000_000.0},
    {"on_start": functions.echo, "on_error": functions.clumsy_hook},
]


@pytest.fixture
def gator() -> Gator:
    return Gator(f"locmem://{uuid4()}")


def mould(gator: Gator, func: Any = functions.echo, **options: Any) -> Mould:
    return Mould(lambda: Task(**options), func, gator.message_of, gator.max_payload)


def stored(message: Message) -> dict[str, Any]:
    """Everything in a message but its ids."""
    payload = json.loads(message.payload)
    assert payload.pop("task_id") == message.task_id == str(message.id)
    if not message.due.absolute and message.due.seconds:
        due = payload["options"].pop("delay_until")
        assert due - time.time() == pytest.approx(message.due.seconds, abs=30)
    names = ("queue", "func", "priority", "due", "expires", "unique_key", "tags")
    return {"payload": payload} | {name: getattr(message, name) for name in names}


@pytest.mark.parametrize("options", OPTIONS)
def test_the_messages_are_those_of_single_tasks(gator: Gator, options: dict[str, Any]) -> None:
    made = mould(gator, **options)
    alone = [gator.message_of(made.task(item)) for item in ITEMS]
    together = made.series(iter(ITEMS), len(ITEMS)).messages()
    assert list(map(stored, together)) == list(map(stored, alone))
    assert len({message.id for message in together}) == len(ITEMS)
    assert sorted(message.id for message in together) == [message.id for message in together]


@pytest.mark.parametrize("item", [math.nan, {1: 2}, object(), [[{"a": {None: 1}}]]])
def test_an_argument_that_is_no_json_has_the_error_of_a_single_task(
    gator: Gator, item: Any
) -> None:
    made = mould(gator)
    with pytest.raises(PayloadError) as alone:
        gator.message_of(made.task(item))
    with pytest.raises(PayloadError) as together:
        made.series(iter([1, item]), 2)
    assert str(together.value) == str(alone.value)


def test_a_payload_that_is_too_large(gator: Gator) -> None:
    gator.max_payload = 200
    made = mould(gator)
    made.series(iter(["x" * 20]), 1)
    with pytest.raises(PayloadError, match=r"takes 297 bytes, the limit is 200"):
        made.series(iter(["x" * 200]), 1)


@pytest.mark.parametrize(
    ("func", "error"),
    [(lambda item: item, UnknownCallableError), (functions.leave, SignatureError)],
)
def test_a_function_that_cannot_be_called(gator: Gator, func: Any, error: Any) -> None:
    with pytest.raises(error):
        mould(gator, func).series(iter([1]), 1)


def test_nothing_is_asked_of_a_function_without_calls(gator: Gator) -> None:
    assert gator.map(lambda: None, []) == 0


class Shouting(Task):
    """A task class that stores what it likes."""

    def to_call(self, func: Any, *args: Any, **kwargs: Any) -> None:
        super().to_call(func, *(str(arg).upper() for arg in args), **kwargs)


def test_a_task_class_has_its_own_way() -> None:
    gator = Gator(f"locmem://{uuid4()}", task_class=Shouting)
    assert gator.map(functions.echo, ["a", "b"]) == 2
    assert [gator.pop(), gator.pop()] == ["A", "B"]


def test_an_id_that_is_given_is_stored_once(gator: Gator) -> None:
    assert gator.options(task_id="only-me").map(functions.echo, [1, 2]) == 1


def test_progress_is_told_after_each_batch(gator: Gator) -> None:
    told: list[int] = []
    batch = gator.store.batch
    gator.map(functions.echo, iter(range(2 * batch + 1)), progress=told.append)
    assert told == [batch, 2 * batch, 2 * batch + 1]


@pytest.mark.parametrize("task_class", [Task, Shouting])
def test_a_batch_of_large_payloads_has_few(task_class: type[Task]) -> None:
    gator = Gator(f"locmem://{uuid4()}", task_class=task_class)
    told: list[int] = []
    large = "X" * (BATCH_BYTES // 10)
    assert gator.map(functions.echo, (large for _ in range(25)), progress=told.append) == 25
    assert told == [10, 20, 25]


@pytest.mark.parametrize("task_class", [Task, Shouting])
def test_items_are_read_when_they_are_needed(task_class: type[Task]) -> None:
    gator = Gator(f"locmem://{uuid4()}", task_class=task_class)
    read: list[int] = []

    def items() -> Iterator[int]:
        for number in range(gator.store.batch + 1):
            read.append(number)
            yield number

    told: list[int] = []
    gator.map(functions.echo, items(), progress=lambda _: told.append(len(read)))
    assert told == [gator.store.batch, gator.store.batch + 1]


def test_progress_counts_what_is_stored(gator: Gator) -> None:
    told: list[int] = []
    gator.options(unique_key="one").map(
        functions.echo, range(gator.store.batch + 1), progress=told.append
    )
    assert told == [1, 1]


def test_progress_in_asynchronous_code(gator: Gator) -> None:
    told: list[int] = []
    asyncio.run(gator.amap(functions.echo, [1, 2], progress=told.append))
    assert told == [2]


def test_calls_at_once_tell_their_progress(gator: Gator, journal: list[Any]) -> None:
    told: list[int] = []
    gator.options(is_async=False).map(functions.echo, [1, 2], progress=told.append)
    assert (told, journal) == ([2], [1, 2])
