"""Making the tasks of many calls of one function.

What they have in common is checked and encoded once; for each of them only its id and its
argument are left. That takes a fraction of the time, which is what bulk enqueueing costs.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from . import jsontext
from .callables import AnyCallable
from .exceptions import PayloadError
from .ids import new_ids, shown
from .messages import Message, Series
from .tasks import Task

BATCH_BYTES = 8 * 1024 * 1024
"""Bytes of payloads after which a batch ends, however few its tasks are."""
_GAP = "\x7f"
"""Stands for the argument: short, and in no name of a function, which comes before it."""


class Mould:
    """Makes tasks that differ in the one argument of their call.

    Tasks of a class of their own, or with an id that was given, are made one by one: nobody
    knows here what such a class stores. All others, which ``is_plain`` says, make a series.

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
        self.is_plain = type(sample) is Task and make().task_id != sample.task_id

    def task(self, item: Any) -> Task:
        """Return the task that calls the function with ``item``.

        Raises:
            SignatureError: It cannot be called with one argument.
        """
        task = self._make()
        task.to_call(self._func, item)
        return task

    def messages(self, items: Iterator[Any], limit: int) -> list[Message]:
        """Return messages for the next of ``items``: up to ``limit``, or what memory allows.

        Raises:
            AlligatorException: One of the calls cannot be stored.
        """
        room = BATCH_BYTES
        messages = []
        for item in islice(items, limit):
            message = self._message(item)
            messages.append(message)
            room -= len(message.payload)
            if room <= 0:
                break
        return messages

    def series(self, items: Iterator[Any], limit: int) -> Series:
        """Return the next of ``items`` as plain tasks: up to ``limit``, or what memory allows.

        Raises:
            AlligatorException: One of the calls cannot be stored.
        """
        # Made for each series anew: the time of a delay is counted from there.
        task = self.task(_GAP)
        model = self._message_of(task)
        head, middle, tail = _cut(str(model.payload), task.task_id, jsontext.dumps(_GAP))
        room = BATCH_BYTES
        frame = len(head) + len(task.task_id) + len(middle) + len(tail)
        arguments = []
        for item in islice(items, limit):
            argument = self._argument(item)
            size = frame + len(argument)
            if size > self._largest:
                self._message(item)  # which says so
            arguments.append(argument)
            room -= size
            if room <= 0:
                break
        ids = new_ids(len(arguments))
        payloads = [
            f"{head}{shown(task_id)}{middle}{argument}{tail}"
            for task_id, argument in zip(ids, arguments, strict=True)
        ]
        return Series(model, ids, payloads)

    def _message(self, item: Any) -> Message:
        return self._message_of(self.task(item))

    def _argument(self, item: Any) -> str:
        try:
            return jsontext.dumps(item)
        except PayloadError:
            self._message(item)  # its error has the whole path
            raise


def _cut(text: str, first: str, second: str) -> tuple[str, str, str]:
    head, _, rest = text.partition(first)
    middle, _, tail = rest.partition(second)
    return head, middle, tail
