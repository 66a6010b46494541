"""Making the messages of many calls of one function.

What they have in common is checked and encoded once; for each of them only its id and its
argument are left. That takes a third of the time, which is what bulk enqueueing costs.
"""

from collections.abc import Callable, Iterable
from typing import Any

from . import jsontext
from .callables import AnyCallable
from .exceptions import PayloadError
from .ids import new_id
from .messages import Message
from .tasks import Task

_GAP = "\x7f"
"""Stands for the argument: short, and in no name of a function, which comes before it."""


class Mould:
    """Makes messages that differ in the one argument of their call.

    Tasks of a class of their own, or with an id that was given, are made one by one: nobody
    knows here what such a class stores.

    Args:
        make: Makes a new task with the options of all.
        func: The function that is called.
        message_of: Turns a task into a message, after all checks.
        largest: The bytes of the largest payload that may be stored.
    """

    def __init__(
        self,
        make: Callable[[], Task],
        func: AnyCallable,
        message_of: Callable[[Task], Message],
        largest: int,
    ) -> None:
        self._make = make
        self._func = func
        self._message_of = message_of
        self._largest = largest
        sample = make()
        self.is_async = sample.is_async
        self._is_plain = type(sample) is Task and make().task_id != sample.task_id

    def task(self, item: Any) -> Task:
        """Return the task that calls the function with ``item``.

        Raises:
            SignatureError: It cannot be called with one argument.
        """
        task = self._make()
        task.to_call(self._func, item)
        return task

    def messages(self, items: Iterable[Any]) -> list[Message]:
        """Return a message for each of ``items``.

        Raises:
            AlligatorException: One of the calls cannot be stored.
        """
        # Prepared for each batch anew: the time of a delay is counted from there.
        cast = self._prepared() if self._is_plain else self._one_by_one
        return list(map(cast, items))

    def _one_by_one(self, item: Any) -> Message:
        return self._message_of(self.task(item))

    def _prepared(self) -> Callable[[Any], Message]:
        task = self.task(_GAP)
        sample = self._message_of(task)
        head, middle, tail = _cut(str(sample.payload), task.task_id, jsontext.dumps(_GAP))
        shared = (sample.priority, sample.due, sample.expires, sample.unique_key, sample.tags)
        queue, func, largest = sample.queue, sample.func, self._largest

        def cast(item: Any) -> Message:
            try:
                argument = jsontext.dumps(item)
            except PayloadError:
                return self._one_by_one(item)  # its error has the whole path
            task_id = new_id()
            shown = str(task_id)
            payload = f"{head}{shown}{middle}{argument}{tail}"
            if len(payload) > largest:
                return self._one_by_one(item)  # which says so
            return Message(task_id, shown, queue, func, payload, *shared)

        return cast


def _cut(text: str, first: str, second: str) -> tuple[str, str, str]:
    head, _, rest = text.partition(first)
    middle, _, tail = rest.partition(second)
    return head, middle, tail
