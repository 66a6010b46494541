"""What a running task may know of itself and ask for, and how it is told to stop.

A runner makes a context for each claim that it starts. The task reads it by
:func:`current_task`; whoever wants the task to stop calls :meth:`TaskContext.interrupt`.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NoReturn, Protocol
from uuid import UUID

from . import timers
from .bindings import Binding
from .exceptions import (
    Interrupted,
    InvalidOptionError,
    LeaseLost,
    NoTaskError,
    Snooze,
    TaskTimeout,
    Unsupported,
)
from .messages import Claim, Progress

LONGEST_MESSAGE = 255
"""Characters of a progress message."""
Stop = Callable[[Interrupted], None]
"""Makes a task stop, and is told why."""


class Store(Protocol):
    """What a context needs of the store that its task came from."""

    def complete(self, claim: Claim, value: Any, seconds: float, connection: Any) -> bool:
        """Record a success in the transaction of ``connection``; False when it may not count."""

    async def acomplete(self, claim: Claim, value: Any, seconds: float, connection: Any) -> bool:
        """Do what :meth:`complete` does, for an asynchronous connection."""


class TaskContext:
    """One attempt of a task.

    Args:
        claim: What is run; None for a call that no store knows.
        store: Where it came from, if that can record a success in a transaction.
        reports: Whether the store keeps the progress of tasks.

    Attributes:
        attempt: Which attempt this is, from 1 on.
        lease: The number of the claim: it grows with each, and no two attempts share one.
        worker: The incarnation of the worker process that runs the task.
        deadline: When the time of the task is over, on the monotonic clock, or None.
        said: The last :meth:`progress`.
        reported: What of it the store was told last.
        interruption: Why the task has to stop, once it has to.
        interrupted_at: Since when, on the monotonic clock.
        completed: Whether :meth:`complete` has been called with success.
    """

    def __init__(
        self, claim: Claim | None = None, store: Store | None = None, *, reports: bool = False
    ) -> None:
        self.claim = claim
        self.attempt = 1 if claim is None else claim.attempts
        self.lease = 0 if claim is None else claim.lease
        self.worker: UUID | None = None if claim is None else claim.worker
        self.deadline: float | None = None
        self.said: Progress | None = None
        self.reported: Progress | None = None
        self.interruption: Interrupted | None = None
        self.interrupted_at: float | None = None
        self.completed = False
        self._task_id: str | None = None
        self._store = store
        self._reports = reports or claim is None
        self._started = time.monotonic()
        self._lock = threading.Lock()
        self._stop: Stop | None = None
        self._told: threading.Event | None = None
        self._timer: timers.Timer | None = None

    # For the task

    @property
    def id(self) -> str:
        """The id of the task, as ``gator.find`` takes it."""
        if self._task_id is not None:
            return self._task_id
        return "" if self.claim is None else str(self.claim.id)

    @property
    def should_stop(self) -> bool:
        """Whether the task has to stop: a timeout, a cancel, a worker that stops."""
        return self.interruption is not None

    @property
    def remaining(self) -> float | None:
        """Seconds until :attr:`deadline`, at least 0; None without one."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    def wait(self, seconds: float) -> bool:
        """Wait for ``seconds``, or until the task has to stop; return whether it has to.

        Ex::

            while not current_task().wait(1.0):
                poll()
        """
        with self._lock:
            if self.interruption is not None:
                return True
            if self._told is None:
                self._told = threading.Event()
        return self._told.wait(seconds)

    def snooze(self, seconds: float) -> NoReturn:
        """Put the task back for ``seconds``, at no cost; what comes after this call never runs.

        Raises:
            Snooze: Always; let it pass.
        """
        raise Snooze(seconds)

    def progress(self, percent: float, message: str = "") -> None:
        """Say how far the task has come. It is stored with the next heartbeat of the worker.

        Without a worker that has one, as in ``gator.pop``, nobody is told.

        Args:
            percent: 0 to 100.
            message: Up to 255 characters; more are cut off.

        Raises:
            InvalidOptionError: ``percent`` is none.
            Unsupported: The backend keeps no progress.
        """
        if not isinstance(percent, int | float) or not 0 <= percent <= 100:
            raise InvalidOptionError(f"percent={percent!r}: give a number from 0 to 100.")
        if not self._reports:
            raise Unsupported(
                "This backend cannot keep the progress of a task. PostgreSQL, SQLite, Redis and "
                "local memory can."
            )
        self.said = Progress(float(percent), str(message)[:LONGEST_MESSAGE])

    def complete(self, connection: Any, value: Any = None) -> None:
        """Record the success of this task in the transaction of ``connection``.

        The task takes effect together with what it writes there, exactly once: when the
        transaction is committed the task has ended, and when it is not the task has not. Call
        it last in the transaction, and return after the commit.

        Ex::

            with Session(engine) as session, session.begin():
                session.add(Payment(order_id))
                current_task().complete(session)

        Args:
            connection: What ``gator.using`` takes: a Session, a Connection, or a driver's own.
            value: What the task returns, if its result is kept.

        Raises:
            LeaseLost: Somebody else has the task by now. Let it pass, so that your transaction
                is rolled back.
            Unsupported: The backend cannot join a transaction, or not this connection.
        """
        claim, store = self._completable()
        self._completed(store.complete(claim, value, self._seconds(), connection))

    async def acomplete(self, connection: Any, value: Any = None) -> None:
        """Do what :meth:`complete` does, for an asynchronous connection."""
        claim, store = self._completable()
        self._completed(await store.acomplete(claim, value, self._seconds(), connection))

    def _completable(self) -> tuple[Claim, Store]:
        if self.claim is None or self._store is None:
            raise Unsupported(
                "No store knows this task, or not one that can join a transaction: PostgreSQL "
                "(postgresql://) and SQLite (sqlite:///) can."
            )
        return self.claim, self._store

    def _completed(self, applied: bool) -> None:
        if not applied:
            raise LeaseLost(
                f"Task {self.id} is held by another worker, or has ended: roll back what you did."
            )
        self.completed = True

    def _seconds(self) -> float:
        return time.monotonic() - self._started

    # For those who run it

    def begin(self, task_id: str, timeout: float | None) -> None:
        """Note that the task itself starts now, and when its time will be over."""
        self._task_id = task_id
        if timeout is not None:
            self.deadline = time.monotonic() + timeout
            late = TaskTimeout(f"ran longer than its timeout of {timeout:g} s")
            self._timer = timers.at(self.deadline, lambda: self.interrupt(late))

    def interrupt(self, why: Interrupted) -> bool:
        """Tell the task to stop and make it, as far as its runner can; the first reason stays.

        Returns False when it was told before.
        """
        with self._lock:
            if self.interruption is not None:
                return False
            self.interruption, self.interrupted_at = why, time.monotonic()
            if self._told is not None:
                self._told.set()
            if self._stop is not None:
                self._stop(why)
            return True

    def stop_by(self, stop: Stop) -> Stop | None:
        """Let ``stop`` be called with the reason when the task is interrupted, until :meth:`end`.

        It must not wait. It is called at once when that has happened before. Returns what it
        takes the place of.
        """
        with self._lock:
            before, self._stop = self._stop, stop
            if self.interruption is not None:
                stop(self.interruption)
            return before

    @contextmanager
    def stopped_by(self, stop: Stop) -> Iterator[None]:
        """Do what :meth:`stop_by` does, inside a block; then what was there before takes over."""
        before = self.stop_by(stop)
        try:
            yield
        finally:
            with self._lock:
                self._stop = before

    def end(self) -> None:
        """Note that the task has ended: it can be interrupted no more."""
        if self._timer is not None:
            self._timer.cancel()
        with self._lock:
            self._stop = None

    def current(self) -> Binding["TaskContext | None"]:
        """Make this what :func:`current_task` returns inside the block."""
        return Binding(_current, self)


_current: ContextVar[TaskContext | None] = ContextVar("alligator_sql_task", default=None)


def current_task() -> TaskContext:
    """Return the context of the task that runs here, in its function or in one of its hooks.

    Ex::

        def import_all(path):
            for number, line in enumerate(lines := read(path)):
                if current_task().should_stop:
                    current_task().snooze(60)
                current_task().progress(100 * number / len(lines))

    Raises:
        NoTaskError: No task runs here.
    """
    context = _current.get()
    if context is None:
        raise NoTaskError("No task runs here: current_task() is for functions that run as tasks.")
    return context


def running_task() -> TaskContext | None:
    """Return the context of the task that runs here, or None."""
    return _current.get()
