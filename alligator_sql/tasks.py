"""A task: a call, and how it is to be run."""

import logging
from collections.abc import Callable, Iterable
from inspect import iscoroutine
from typing import Any, Self

from . import callables, coroutines, jsontext, options
from .clock import SYSTEM_CLOCK
from .constants import CANCELED, FAILED, RETRYING, SUCCESS, WAITING
from .exceptions import InvalidOptionError, MultipleDelayError, Snooze
from .ids import new_task_id
from .messages import NOW, Moment, Payload
from .retry import Backoff, check_backoff

logger = logging.getLogger(__name__)

OnStart = Callable[["Task"], Any]
OnSuccess = Callable[["Task", Any], Any]
OnError = Callable[["Task", BaseException], Any]

_HOOKS = ("on_start", "on_success", "on_error")
_STORED = ("queue", "priority", "unique_key", "tags", "keep_result")


class Task:
    """A call together with its options.

    Usually ``gator.task()`` and ``gator.options()`` make these for you.

    Ex::

        task = Task(task_id="invoice-42", retries=3, on_error=tell_the_admins)
        gator.push(task, send_invoice, 42)

    Args:
        task_id: The task's id, up to 255 characters; by default a new UUID of version 7.
            An id that the store still knows is not stored again.
        retries: How often to try again after a failure.
        is_async: False runs the call at once in this process, with hooks and retries.
        on_start: Called with the task before the function.
        on_success: Called with the task and the result.
        on_error: Called with the task and the exception after each failed attempt. Hooks
            may change the task: the decision to retry is taken after them.
        depends_on: Not available yet; refused when the task is pushed.
        delay_by: Seconds until the task is due.
        delay_until: When it is due: an aware datetime or a Unix timestamp.
        queue: The queue; by default the one of the gator.
        priority: -32768 to 32767, higher runs first.
        backoff: Seconds between retries: None for exponential with jitter up to an hour,
            a number, or a list. ``0`` retries at once, as Alligator 1.0 did.
        timeout: Seconds that one attempt may take; then it is stopped and has failed. A
            coroutine is cancelled, a child process killed, and in a thread ``TaskTimeout`` is
            raised, at its next step in Python.
        expires: Do not start after this: seconds or a timedelta from now, or an aware datetime.
        unique_key: While a task with this key is live in the queue, no second one is stored.
        tags: Texts to find the task by in reports.
        keep_result: Store what the function returns, for ``gator.result()``.

    Raises:
        MultipleDelayError: ``delay_by`` and ``delay_until`` were both given.
        InvalidOptionError: A value that cannot be honoured.

    Attributes:
        duplicate: True when pushing found that the task already existed.
        result: What the function returned, once it ran in this process.
        status: The status in this process, one of the numbers in ``constants``.
    """

    def __init__(
        self,
        task_id: str | None = None,
        retries: int = 0,
        is_async: bool = True,
        on_start: OnStart | None = None,
        on_success: OnSuccess | None = None,
        on_error: OnError | None = None,
        depends_on: Iterable[str] | None = None,
        delay_by: float | None = None,
        delay_until: options.Due | None = None,
        *,
        queue: str | None = None,
        priority: int = 0,
        backoff: Backoff = None,
        timeout: float | None = None,
        expires: options.Expiry | None = None,
        unique_key: str | None = None,
        tags: Iterable[str] = (),
        keep_result: bool = False,
    ) -> None:
        if delay_by is not None and delay_until is not None:
            raise MultipleDelayError("Give either delay_by or delay_until, not both.")
        self.task_id = new_task_id() if task_id is None else options.check_task_id(task_id)
        self.retries = _check_retries(retries)
        self.is_async = is_async
        self.status: int = WAITING
        self.on_start = on_start
        self.on_success = on_success
        self.on_error = on_error
        self.depends_on = depends_on
        self.due: Moment = NOW
        self.delay_until: float | None = None
        if delay_by is not None:
            self.due = options.check_delay(delay_by)
            self.delay_until = SYSTEM_CLOCK.now() + self.due.seconds
        elif delay_until is not None:
            self.due = options.check_moment(delay_until)
            self.delay_until = self.due.seconds

        self.queue = None if queue is None else options.check_queue(queue)
        self.priority = options.check_priority(priority)
        self.backoff = check_backoff(backoff)
        self.timeout = options.check_timeout(timeout)
        self.expires = None if expires is None else options.check_expiry(expires)
        self.unique_key = options.check_unique_key(unique_key)
        self.tags = options.check_tags(tags)
        if not isinstance(keep_result, bool):
            raise InvalidOptionError(f"keep_result={keep_result!r}: give True or False.")
        self.keep_result = keep_result

        self.func: callables.AnyCallable | None = None
        self.func_args: tuple[Any, ...] = ()
        self.func_kwargs: dict[str, Any] = {}
        self.result: Any = None
        self.duplicate = False

    def to_call(self, func: callables.AnyCallable, *args: Any, **kwargs: Any) -> None:
        """Set the function that this task calls, and its arguments.

        Raises:
            SignatureError: The function cannot be called with them.
        """
        callables.check_call(func, args, kwargs)
        self.func = func
        self.func_args = args
        self.func_kwargs = kwargs

    @property
    def called(self) -> callables.AnyCallable:
        """The function of this task.

        Raises:
            InvalidOptionError: It has none yet.
        """
        if self.func is None:
            raise InvalidOptionError("This task has no function yet: use to_call() first.")
        return self.func

    def to_waiting(self) -> None:
        """Set the status to waiting."""
        self.status = WAITING

    def to_success(self) -> None:
        """Set the status to success."""
        self.status = SUCCESS

    def to_failed(self) -> None:
        """Set the status to failed."""
        self.status = FAILED

    def to_canceled(self) -> None:
        """Set the status to canceled."""
        self.status = CANCELED

    def to_retrying(self) -> None:
        """Set the status to retrying."""
        self.status = RETRYING

    def serialize(self) -> Payload:
        """Return the task as the text that is stored. Subclasses may return bytes.

        Raises:
            PayloadError: The arguments are not plain JSON.
            UnknownCallableError: The function or a hook has no importable name.
            ForbiddenCallableError: The policy refuses the function or a hook.
        """
        data: dict[str, Any] = {"task_id": self.task_id, "func": callables.name_of(self.called)}
        if self.func_args:
            data["args"] = self.func_args
        if self.func_kwargs:
            data["kwargs"] = self.func_kwargs
        if self.retries:
            data["retries"] = self.retries
        if not self.is_async:
            data["is_async"] = False
        stored_options = self._stored_options()
        if stored_options:
            data["options"] = stored_options
        return jsontext.dumps(data, "task")

    def _stored_options(self) -> dict[str, Any]:
        """The options that differ from their defaults, for the worker, hooks and ``cancel()``."""
        stored: dict[str, Any] = {}
        for hook in _HOOKS:
            func = getattr(self, hook)
            if func is not None:
                stored[hook] = callables.name_of(func)
        for option in _STORED:
            value = getattr(self, option)
            if value:
                stored[option] = value
        if self.backoff is not None:
            stored["backoff"] = self.backoff
        if self.timeout is not None:
            stored["timeout"] = self.timeout
        if self.delay_until is not None:
            stored["delay_until"] = self.delay_until
        return stored

    @classmethod
    def deserialize(cls, data: Payload) -> Self:
        """Return the task that :meth:`serialize` has written.

        Raises:
            UnknownModuleError: The module of the function or of a hook cannot be imported.
            UnknownCallableError: The module has no such function.
            ForbiddenCallableError: The policy refuses it; nothing was imported.
        """
        stored = jsontext.loads(data)
        settings = dict(stored.get("options", {}))
        for hook in _HOOKS:
            if hook in settings:
                settings[hook] = callables.resolve(settings[hook])
        task = cls(
            task_id=stored["task_id"],
            retries=stored.get("retries", 0),
            is_async=stored.get("is_async", True),
            **settings,
        )
        task.func = callables.resolve(stored["func"])
        task.func_args = tuple(stored.get("args", ()))
        task.func_kwargs = dict(stored.get("kwargs", {}))
        return task

    def run(self) -> Any:
        """Call the function with its hooks and return what it returned.

        A coroutine function runs to its end on the event loop's thread. An error is
        passed to ``on_error`` and raised again; an error of ``on_error`` or
        ``on_success`` itself is logged and changes nothing about the outcome.
        """
        func = self.called
        try:
            if self.on_start is not None:
                self.on_start(self)
            result = func(*self.func_args, **self.func_kwargs)
            if iscoroutine(result):
                result = coroutines.run(result)
        except BaseException as error:
            self._fail(error)
            raise
        return self._succeed(result)

    async def arun(self) -> Any:
        """Do what :meth:`run` does, on the event loop that runs here; hooks run there, too."""
        func = self.called
        try:
            if self.on_start is not None:
                self.on_start(self)
            result = func(*self.func_args, **self.func_kwargs)
            if iscoroutine(result):
                result = await result
        except BaseException as error:
            self._fail(error)
            raise
        return self._succeed(result)

    def _succeed(self, result: Any) -> Any:
        self.result = result
        self.to_success()
        if self.on_success is not None:
            self._run_hook(self.on_success, result)
        return result

    def _fail(self, error: BaseException) -> None:
        if isinstance(error, Snooze):  # the task waits, nothing has failed
            self.to_waiting()
            return
        self.to_failed()
        if self.on_error is not None:
            self._run_hook(self.on_error, error)

    def _run_hook(self, hook: Callable[..., Any], value: Any) -> None:
        try:
            hook(self, value)
        except BaseException:  # not even a SystemExit of a hook changes the outcome
            logger.exception("hook %s of task %s failed", callables.shown(hook), self.task_id)


def _check_retries(retries: int) -> int:
    try:
        checked = int(retries)
    except (TypeError, ValueError, OverflowError):
        checked = -1
    if not 0 <= checked <= 1_000_000 or (isinstance(retries, float) and retries != checked):
        raise InvalidOptionError(f"retries={retries!r}: give a whole number from 0 to 1000000.")
    return checked
