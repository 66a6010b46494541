"""The gator: where an application enqueues tasks and asks about them."""

import asyncio
import math
import os
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from . import backends, callables, jsontext, options
from .backends import Backend
from .backends.legacy import adapt
from .completion import completion_of
from .constants import ALL, FAILED, SUCCESS
from .context import TaskContext
from .enqueuing import MAX_PAYLOAD, Enqueuer, Joined, run_now
from .exceptions import (
    Discard,
    InvalidOptionError,
    ResultTimeoutError,
    ResultUnavailableError,
    Retry,
    Snooze,
    TaskFailedError,
    UnknownBackendError,
    Unsupported,
)
from .execution import perform, run
from .lease import Lease
from .messages import Claim, Ending, Message, Moment, Receipt, Series, TaskRecord
from .outcomes import Failed, Outcome, Settlement, Snoozed, Succeeded
from .tasks import Task

if TYPE_CHECKING:
    from sqlalchemy import Engine

CONN_VARIABLE = "ALLIGATOR_CONN"
"""The environment variable that holds the connection string when none is given."""
LONGEST_WAIT = 3600.0
"""Seconds that one call of the backend waits for a result; longer waits repeat it."""


class Gator(Enqueuer):
    """Enqueues tasks, and tells what became of them.

    Nothing is connected before the first use, so a gator may be a global of a module.

    Ex::

        gator = Gator("postgresql://localhost/app")
        gator.task(send_email, 42)

    Args:
        conn_string: ``postgresql://user@host/db``, ``sqlite:///tasks.db`` (relative),
            ``sqlite:////srv/tasks.db`` (absolute), ``redis://host/0``, ``sqs://us-west-2/``,
            ``locmem://``, or a scheme of an installed distribution. By default the
            environment variable ``ALLIGATOR_CONN``.
        queue_name: The queue of tasks that name none, 1 to 128 characters.
        task_class: The class of the tasks.
        backend_class: A ``Backend``, or a client written for Alligator 1.0, to be called
            with the connection string.
        engine: A SQLAlchemy ``Engine`` of the application to share, instead of a string.
        allow: Patterns of functions that may be tasks, such as ``"myapp.*"``; by default
            every public module-level function outside of the standard library.
        prefix: What the names of the SQL tables start with.
        schema: The PostgreSQL schema of the tables; by default the search path decides.
        listen_url: Another PostgreSQL connection string for the connection on which a worker
            waits for notifications, when the first leads through a transaction pooler.
        max_payload: The largest serialized task in bytes.

    Raises:
        UnknownBackendError: No backend serves the connection string.
        InvalidOptionError: An argument has an impossible value.
        Unsupported: The backend does not have an option that was given.
    """

    def __init__(
        self,
        conn_string: str | None = None,
        queue_name: str = ALL,
        task_class: type[Task] = Task,
        backend_class: Callable[[str], Any] | None = None,
        *,
        engine: "Engine | None" = None,
        allow: Iterable[str] = (),
        prefix: str | None = None,
        schema: str | None = None,
        listen_url: str | None = None,
        max_payload: int = MAX_PAYLOAD,
    ) -> None:
        if conn_string is not None and engine is not None:
            raise InvalidOptionError("Give either a connection string or engine=, not both.")
        if conn_string is None and engine is None:
            conn_string = os.environ.get(CONN_VARIABLE)
            if not conn_string:
                raise UnknownBackendError(
                    f"No connection string: pass one, or engine=, or set {CONN_VARIABLE}."
                )
        self.conn_string = conn_string or ""
        self.queue_name = options.check_queue(queue_name)
        self.task_class = task_class
        self.backend_class = backend_class
        self.policy = callables.Policy(allow)
        self.max_payload = max_payload
        self._backend_options: dict[str, Any] = {
            name: value
            for name, value in (
                ("engine", engine),
                ("prefix", prefix),
                ("schema", schema),
                ("listen_url", listen_url),
            )
            if value is not None
        }
        if backend_class is None:
            self.backend = self.build_backend(self.conn_string)
        elif self._backend_options:
            raise Unsupported(
                f"{', '.join(self._backend_options)}: a backend_class gets only the connection "
                "string."
            )
        else:
            self.backend = backend_class(self.conn_string)
        self._store = self.backend if isinstance(self.backend, Backend) else adapt(self.backend)

    def build_backend(self, conn_string: str) -> Any:
        """Return the backend for ``conn_string``; subclasses may build another."""
        engine = self._backend_options.get("engine")
        if engine is not None:
            conn_string = f"{engine.dialect.name}://"
        return backends.build(conn_string, **self._backend_options)

    @property
    def portable_options(self) -> dict[str, Any] | None:
        """The options with which another process makes a gator like this one.

        None when it cannot: an engine or a backend class is an object of this process.
        """
        if self.backend_class is not None or "engine" in self._backend_options:
            return None
        return {"allow": self.policy.allow, **self._backend_options}

    @property
    def store(self) -> Backend:
        """The backend behind the common interface, also for a client of Alligator 1.0."""
        return self._store

    def open(self) -> None:
        """Connect and check the store now instead of at the first use.

        Raises:
            StoreUnavailableError: It does not answer.
            SchemaError: Its tables or queues are missing or too old; names the command.
        """
        self._store.open()

    def close(self) -> None:
        """Give back all connections; the gator may be used again afterwards."""
        self._store.close()

    def _send(self, messages: Sequence[Message]) -> list[Receipt]:
        return self._store.enqueue(messages)

    async def _asend(self, messages: Sequence[Message]) -> list[Receipt]:
        return await asyncio.to_thread(self._store.enqueue, messages)

    def _send_series(self, series: Series) -> int:
        return self._store.enqueue_series(series)

    async def _asend_series(self, series: Series) -> int:
        return await asyncio.to_thread(self._store.enqueue_series, series)

    def using(self, connection: Any) -> Joined:
        """Return a view of this gator that enqueues in the transaction of ``connection``.

        What it enqueues commits and rolls back with everything else there. It never
        commits, rolls back or makes a savepoint.

        Ex::

            with Session(engine) as session, session.begin():
                session.add(order)
                gator.using(session).task(charge, order.id)

        Args:
            connection: A SQLAlchemy Session, AsyncSession, Connection or AsyncConnection, a
                psycopg Connection or AsyncConnection, or a sqlite3 Connection, to the
                database of the queue. Asynchronous ones take ``atask`` and ``amap``.

        Raises:
            Unsupported: The backend cannot join transactions, or not this connection.
        """
        return Joined(self, connection)

    def len(self) -> int:
        """Return how many tasks of the queue wait, the delayed ones included."""
        return self._store.len(self.queue_name)

    def pop(self) -> Any:
        """Run the first due task of the queue in this process and return its result.

        Returns None when there is none, and when the task is to run again: it failed with a
        retry left, or has snoozed.

        Raises:
            BaseException: What the task raised, when no retry is left.
        """
        return self._run(
            lambda worker: self._store.claim(
                [self.queue_name], 1, worker, thorough=True, begins=True
            )
        )

    def get(self, task_id: str) -> Any:
        """Run the waiting task ``task_id`` now, due or not, and return its result.

        A pause of the queue does not keep it from running: you have named this very task.
        Returns None when no such task waits, and when it is to run again: it failed with a
        retry left, or has snoozed.

        Raises:
            BaseException: What the task raised, when no retry is left.
            Unsupported: The backend cannot claim a task by its id.
        """

        def claim(worker: UUID) -> list[Claim]:
            claimed = self._store.claim_one(self.queue_name, str(task_id), worker)
            return [claimed] if claimed else []

        return self._run(claim)

    async def aget(self, task_id: str) -> Any:
        """Do what :meth:`get` does, from asynchronous code."""
        return await asyncio.to_thread(self.get, task_id)

    def _run(self, claim: Callable[[UUID], Sequence[Claim]]) -> Any:
        outcome: Outcome | None = None
        completion = completion_of(self._store)
        with Lease(self._store, [self.queue_name]) as lease:
            for claimed in claim(lease.worker):
                if claimed.suspect and not self._store.begin([claimed]):
                    continue
                reports = self._store.capabilities.progress
                context = TaskContext(claimed, completion, reports=reports)
                outcome = perform(claimed, self.task_class, self.policy, context)
                self._store.ack([Settlement(claimed, outcome)])
        match outcome:
            case Succeeded(value=value):
                return value
            case Failed(failure=failure, exception=exception):
                raise exception or _failed(Ending(FAILED, failure=failure))
            case Snoozed(exception=exception) if not isinstance(exception, Snooze):
                raise exception  # nobody can import its function here
        return None

    def execute(self, task: Task) -> Any:
        """Run ``task`` in this process and return its result.

        When it fails with retries left or snoozes, an asynchronous task goes back to the queue
        and None is returned; one with ``is_async=False`` is tried again at once.

        Raises:
            Exception: What the task raised, when no retry is left, or when it cannot go back
                because the store knows its id already.
        """
        if not task.is_async:
            return run_now(task)
        try:
            return run(task, TaskContext())
        except Snooze as verdict:
            if not self._put_back(task, verdict.delay):
                raise
        except Exception as error:
            if task.retries <= 0 or isinstance(error, Discard):
                raise
            task.retries -= 1
            task.to_retrying()
            if not self._put_back(task, error.delay if isinstance(error, Retry) else 0.0):
                raise
        return None

    def _put_back(self, task: Task, delay: float) -> bool:
        """Store ``task``, due after ``delay`` seconds; False when the store knows its id."""
        task.due = Moment(delay)
        [receipt] = self._send([self.message_of(task)])
        return not receipt.duplicate

    def cancel(self, task_id: str) -> Task | None:
        """Cancel the task ``task_id`` and return it, or None when it neither waits nor runs.

        One that waits has ended then. One that runs is told to stop, within the pause of its
        worker's heartbeat at most: a coroutine is cancelled, a child process is killed, and in
        a thread ``TaskCanceled`` is raised. What has ended by then has ended as it did. Where a
        backend lacks the capability ``interrupt`` this is None for a task that runs.

        Raises:
            Unsupported: The backend cannot cancel.
        """
        payload = self._store.cancel(self.queue_name, str(task_id))
        if payload is None:
            return None
        task = self._loaded(payload, str(task_id))
        task.to_canceled()
        return task

    async def acancel(self, task_id: str) -> Task | None:
        """Do what :meth:`cancel` does, from asynchronous code."""
        return await asyncio.to_thread(self.cancel, task_id)

    def retry(self, task_id: str) -> bool:
        """Let a task that failed or was canceled wait again, due now, and return whether it does.

        Its attempts count from 0, and it has the retries that were left at its end: mostly
        none, so it is tried once. It expires no more.

        Ex::

            if not gator.retry("invoice-42"):
                print("It has not failed, or a task with its unique_key lives.")

        Raises:
            Unsupported: The backend cannot let an ended task run again.
        """
        return self._store.retry(self.queue_name, str(task_id))

    async def aretry(self, task_id: str) -> bool:
        """Do what :meth:`retry` does, from asynchronous code."""
        return await asyncio.to_thread(self.retry, task_id)

    def pause(self) -> None:
        """Let workers start nothing of the queue until :meth:`resume`.

        What they hold already is finished, and enqueueing goes on.

        Ex::

            Gator("postgresql://localhost/app", "mail").pause()

        Raises:
            Unsupported: The backend cannot pause a queue.
        """
        self._store.pause(self.queue_name)

    def resume(self) -> None:
        """End a pause: the workers go on at once.

        Raises:
            Unsupported: The backend cannot pause a queue.
        """
        self._store.resume(self.queue_name)

    def is_paused(self) -> bool:
        """Return whether the queue is paused.

        Raises:
            Unsupported: The backend cannot pause a queue.
        """
        return self._store.is_paused(self.queue_name)

    def find(self, task_id: str) -> TaskRecord | None:
        """Return what the store knows about ``task_id``, live or ended, or None.

        Raises:
            Unsupported: The backend cannot find a task by its id.
        """
        return self._store.find(str(task_id))

    async def afind(self, task_id: str) -> TaskRecord | None:
        """Do what :meth:`find` does, from asynchronous code."""
        return await asyncio.to_thread(self.find, task_id)

    def result(self, task_id: str, timeout: float | None = None) -> Any:
        """Wait for the end of ``task_id`` and return the result that was kept.

        Ex::

            task = gator.options(keep_result=True).task(add, 1, 2)
            assert gator.result(task.task_id, timeout=10) == 3

        Args:
            task_id: A committed task that was enqueued with ``keep_result=True``.
            timeout: Seconds to wait; None waits as long as it takes, 0 only looks.

        Raises:
            TaskFailedError: The task failed or was canceled; has the stored traceback.
            ResultUnavailableError: It ended well, but its result was not kept or not JSON.
            ResultTimeoutError: It did not end in time.
            UnknownTaskError: No task has this id.
        """
        rest = math.inf if timeout is None else timeout
        while True:
            ending = self._store.ending(str(task_id), min(rest, LONGEST_WAIT))
            if ending is not None:
                return _value(task_id, ending)
            rest -= LONGEST_WAIT
            if rest <= 0:
                raise ResultTimeoutError(f"Task {task_id} did not end within {timeout} s.")

    async def aresult(self, task_id: str, timeout: float | None = None) -> Any:
        """Do what :meth:`result` does, from asynchronous code."""
        return await asyncio.to_thread(self.result, task_id, timeout)


def _value(task_id: str, ending: Ending) -> Any:
    if ending.status != SUCCESS:
        raise _failed(ending)
    if ending.problem is not None:
        raise ResultUnavailableError(
            f"Task {task_id} succeeded, but its result could not be stored: {ending.problem}"
        )
    if ending.value is None:
        raise ResultUnavailableError(
            f"Task {task_id} succeeded, but its result was not kept: enqueue it with "
            "options(keep_result=True)."
        )
    return jsontext.loads(ending.value)


def _failed(ending: Ending) -> TaskFailedError:
    failure = ending.failure
    if failure is None:
        return TaskFailedError("The task was canceled.", kind="canceled")
    text = f"{failure.kind}: {failure.message}" if failure.kind else failure.message
    return TaskFailedError(text, kind=failure.reason or failure.kind, traceback=failure.traceback)
