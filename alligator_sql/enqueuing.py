"""Turning calls into stored tasks: what a gator, its options and its views share."""

import asyncio
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from types import TracebackType
from typing import Any, Self

from . import callables, execution, options
from .backends import Backend
from .backends.base import CAN_ALL_ELSE
from .context import TaskContext
from .exceptions import Discard, PayloadError, Snooze, Unsupported
from .ids import id_of
from .messages import NOW, Message, Payload, Receipt, Series, number_new
from .moulds import Mould
from .tasks import Task

Progress = Callable[[int], object]
"""Gets the number of tasks stored so far."""

MAX_PAYLOAD = 1024 * 1024
"""Bytes of a serialized task that are stored unless the gator says otherwise."""


class Enqueuer(ABC):
    """Anything that stores tasks: a gator, or a view of it inside a transaction."""

    queue_name: str
    task_class: type[Task]
    max_payload: int
    policy: callables.Policy

    @property
    @abstractmethod
    def store(self) -> Backend:
        """The backend that the tasks go to."""

    @abstractmethod
    def _send(self, messages: Sequence[Message]) -> list[Receipt]:
        """Store messages of one queue."""

    @abstractmethod
    async def _asend(self, messages: Sequence[Message]) -> list[Receipt]:
        """Store messages of one queue, from asynchronous code."""

    def _send_series(self, series: Series) -> int:
        """Store tasks that are alike, and return how many of them are new."""
        return number_new(self._send(series.messages()))

    async def _asend_series(self, series: Series) -> int:
        """Do what :meth:`_send_series` does, from asynchronous code."""
        return number_new(await self._asend(series.messages()))

    def push(self, task: Task, func: callables.AnyCallable, *args: Any, **kwargs: Any) -> Task:
        """Store ``task`` as the call ``func(*args, **kwargs)``.

        With ``is_async=False`` it runs at once in this process instead, with its hooks and
        retries, and touches no store.

        Ex::

            gator.push(Task(retries=3), send_email, 42)

        Returns:
            The task. When a task with its id or its unique key already existed, that one,
            with ``duplicate`` set.

        Raises:
            AlligatorException: The call cannot be stored; nothing was, and a transaction
                that was joined stays usable.
        """
        task.to_call(func, *args, **kwargs)
        if not task.is_async:
            run_now(task)
            return task
        return self._received(task, self._send([self.message_of(task)])[0])

    async def apush(
        self, task: Task, func: callables.AnyCallable, *args: Any, **kwargs: Any
    ) -> Task:
        """Do what :meth:`push` does, from asynchronous code."""
        task.to_call(func, *args, **kwargs)
        if not task.is_async:
            await asyncio.to_thread(run_now, task)
            return task
        return self._received(task, (await self._asend([self.message_of(task)]))[0])

    def task(self, func: callables.AnyCallable, *args: Any, **kwargs: Any) -> Task:
        """Store the call ``func(*args, **kwargs)`` as a task and return the task.

        Ex::

            gator.task(send_email, 42, subject="Welcome")

        Raises:
            AlligatorException: The call cannot be stored.
        """
        return self.push(self.task_class(), func, *args, **kwargs)

    async def atask(self, func: callables.AnyCallable, *args: Any, **kwargs: Any) -> Task:
        """Do what :meth:`task` does, from asynchronous code."""
        return await self.apush(self.task_class(), func, *args, **kwargs)

    def options(self, **task_options: Any) -> "Options":
        """Return a context manager whose tasks get these options; see :class:`Task`.

        Ex::

            with gator.options(retries=3, delay_by=60) as opts:
                opts.task(send_email, 42)

        Raises:
            UnknownOptionError: The task class has no such option; names the nearest.
        """
        return Options(self, **task_options)

    def map(
        self,
        func: callables.AnyCallable,
        items: Iterable[Any],
        *,
        progress: Progress | None = None,
    ) -> int:
        """Store the call ``func(item)`` for each item and return how many were stored.

        Items are read as they are needed and stored in batches: of 1,000, with PostgreSQL of
        5,000, and of fewer large ones. Of a joined transaction all batches are part; else each
        commits by itself.

        Ex::

            gator.map(resize, paths, progress=lambda stored: print(stored, "stored"))

        Args:
            func: What each task calls.
            items: The one argument of each call.
            progress: Called after each batch, with the number of tasks stored so far.

        Raises:
            AlligatorException: A call cannot be stored. Batches before it are, unless they
                are part of a transaction.
        """
        return self._map(func, items, self.task_class, progress)

    async def amap(
        self,
        func: callables.AnyCallable,
        items: Iterable[Any],
        *,
        progress: Progress | None = None,
    ) -> int:
        """Do what :meth:`map` does, from asynchronous code."""
        return await self._amap(func, items, self.task_class, progress)

    def _map(
        self,
        func: callables.AnyCallable,
        items: Iterable[Any],
        make: Callable[[], Task],
        progress: Progress | None,
    ) -> int:
        stored, limit = 0, self.store.batch
        mould = Mould(make, func, self.message_of, self._largest)
        for batch in _batches(items):
            if not mould.is_async:
                for item in islice(batch, limit):
                    run_now(mould.task(item))
                    stored += 1
            elif mould.is_plain:
                stored += self._send_series(mould.series(batch, limit))
            else:
                stored += number_new(self._send(mould.messages(batch, limit)))
            if progress is not None:
                progress(stored)
        return stored

    async def _amap(
        self,
        func: callables.AnyCallable,
        items: Iterable[Any],
        make: Callable[[], Task],
        progress: Progress | None,
    ) -> int:
        stored, limit = 0, self.store.batch
        mould = Mould(make, func, self.message_of, self._largest)
        for batch in _batches(items):
            if not mould.is_async:
                for item in islice(batch, limit):
                    await asyncio.to_thread(run_now, mould.task(item))
                    stored += 1
            elif mould.is_plain:
                stored += await self._asend_series(mould.series(batch, limit))
            else:
                stored += number_new(await self._asend(mould.messages(batch, limit)))
            if progress is not None:
                progress(stored)
        return stored

    def message_of(self, task: Task) -> Message:
        """Return ``task`` as the backend stores it, after all checks.

        Raises:
            Unsupported: The backend cannot honour one of its options.
            PayloadError: Its arguments are not JSON, or too large.
            UnknownCallableError: Its function has no importable name.
            ForbiddenCallableError: The policy refuses its function.
        """
        self._check_options(task)
        with self.policy.active():
            func = callables.name_of(task.called)
            payload = task.serialize()
        self._check_size(func, payload)
        return Message(
            id=id_of(task.task_id),
            task_id=task.task_id,
            queue=task.queue or self.queue_name,
            func=func,
            payload=payload,
            priority=task.priority,
            due=task.due,
            expires=task.expires,
            unique_key=task.unique_key,
            tags=task.tags,
        )

    def _check_options(self, task: Task) -> None:
        _check_available(task)
        if _asks_for_nothing(task):
            return
        able = self.store.capabilities
        for option, given, can in (
            ("delay_by", task.due.seconds > 0 and not task.due.absolute, able.delay),
            ("delay_until", task.due.absolute, able.delay),
            ("priority", task.priority != 0, able.priority),
            ("expires", task.expires is not None, able.expires),
            ("unique_key", task.unique_key is not None, able.unique_key),
            ("tags", bool(task.tags), able.find),
            ("keep_result", task.keep_result, able.results),
        ):
            if given and not can:
                raise Unsupported(
                    f"The {self.store.name} backend cannot honour the option {option!r}. "
                    f"{CAN_ALL_ELSE}."
                )
        if able.max_delay is not None and not task.due.absolute:
            self._check_delay(task.due.seconds, able.max_delay)

    def _check_delay(self, seconds: float, limit: float) -> None:
        if seconds > limit:
            raise Unsupported(
                f"The {self.store.name} backend cannot delay a task by {seconds:g} s, the limit is "
                f"{limit:g} s. PostgreSQL, SQLite, Redis and local memory have no limit."
            )

    @property
    def _largest(self) -> int:
        """Bytes of the largest payload."""
        return min(self.max_payload, self.store.capabilities.max_payload or self.max_payload)

    def _check_size(self, func: str, payload: Payload) -> None:
        if len(payload) > self._largest:
            raise PayloadError(
                f"The call of {func} takes {len(payload)} bytes, the limit is {self._largest}. "
                "Store large data elsewhere and pass its key, or raise max_payload of the Gator."
            )

    def _received(self, task: Task, receipt: Receipt) -> Task:
        if not receipt.duplicate:
            task.task_id = receipt.task_id or task.task_id
            return task
        task_id = str(receipt.id)
        existing = task
        if receipt.payload is not None:
            existing = self._loaded(receipt.payload, task_id)
        existing.duplicate = True
        return existing

    def _loaded(self, payload: Payload, task_id: str) -> Task:
        """Return a stored task; without its call when that cannot be imported here."""
        try:
            with self.policy.active():
                return self.task_class.deserialize(payload)
        except Exception:  # the store has acted already; a task class may raise anything
            return self.task_class(task_id=task_id)


class Options:
    """A context manager whose tasks share their options; made by ``gator.options()``.

    Also usable without ``with``: ``gator.options(retries=3).task(f)``.
    """

    def __init__(self, gator: Enqueuer, **task_options: Any) -> None:
        options.check_names(task_options, _option_names(gator.task_class))
        self.gator = gator
        self.task_kwargs = task_options

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return None

    def _make(self) -> Task:
        return self.gator.task_class(**self.task_kwargs)

    def task(self, func: callables.AnyCallable, *args: Any, **kwargs: Any) -> Task:
        """Store the call ``func(*args, **kwargs)`` with these options."""
        return self.gator.push(self._make(), func, *args, **kwargs)

    def map(
        self,
        func: callables.AnyCallable,
        items: Iterable[Any],
        *,
        progress: Progress | None = None,
    ) -> int:
        """Store the call ``func(item)`` for each item with these options."""
        return self.gator._map(func, items, self._make, progress)

    async def atask(self, func: callables.AnyCallable, *args: Any, **kwargs: Any) -> Task:
        """Do what :meth:`task` does, from asynchronous code."""
        return await self.gator.apush(self._make(), func, *args, **kwargs)

    async def amap(
        self,
        func: callables.AnyCallable,
        items: Iterable[Any],
        *,
        progress: Progress | None = None,
    ) -> int:
        """Do what :meth:`map` does, from asynchronous code."""
        return await self.gator._amap(func, items, self._make, progress)


class Joined(Enqueuer):
    """A view of a gator that enqueues in a transaction of the caller; made by ``using()``."""

    def __init__(self, gator: Enqueuer, connection: Any) -> None:
        self.gator = gator
        self.queue_name = gator.queue_name
        self.task_class = gator.task_class
        self.max_payload = gator.max_payload
        self.policy = gator.policy
        self._connection = connection
        self._is_async = gator.store.is_async(connection)

    @property
    def store(self) -> Backend:
        """The backend that the tasks go to."""
        return self.gator.store

    def _send(self, messages: Sequence[Message]) -> list[Receipt]:
        if self._is_async:
            kind = type(self._connection).__name__
            raise Unsupported(f"{kind} is asynchronous: await atask() or amap() instead.")
        return self.store.enqueue(messages, self._connection)

    async def _asend(self, messages: Sequence[Message]) -> list[Receipt]:
        if self._is_async:
            return await self.store.aenqueue(messages, self._connection)
        return self.store.enqueue(messages, self._connection)


def run_now(task: Task) -> Any:
    """Run ``task`` in this process until it succeeds or has no retry left.

    Raises:
        Unsupported: It has an option that is not available yet.
        Exception: What the last attempt raised; a Snooze or a Discard at once.
    """
    _check_available(task)
    while True:
        try:
            return execution.run(task, TaskContext())
        except (Snooze, Discard):
            raise
        except Exception:
            if task.retries <= 0:
                raise
            task.retries -= 1
            task.to_retrying()


def _check_available(task: Task) -> None:
    if task.depends_on is not None:
        raise Unsupported("The option 'depends_on' is not available yet, with any backend.")


def _asks_for_nothing(task: Task) -> bool:
    """Whether ``task`` has none of the options that a backend might not honour, as most tasks."""
    return (
        task.due is NOW
        and task.priority == 0
        and task.expires is None
        and task.unique_key is None
        and not task.tags
        and not task.keep_result
    )


def _batches(items: Iterable[Any]) -> Iterator[Iterator[Any]]:
    """Yield what is left of ``items`` for as long as there is something; take some of it."""
    rest = iter(items)
    for first in rest:
        yield chain([first], rest)


def _option_names(task_class: type[Task]) -> set[str]:
    """The keyword arguments that a task class and its bases take."""
    return {
        parameter.name
        for base in task_class.__mro__
        if "__init__" in vars(base) and base is not object
        for parameter in inspect.signature(vars(base)["__init__"]).parameters.values()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        and parameter.name != "self"
    }
