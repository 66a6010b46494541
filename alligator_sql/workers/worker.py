"""The worker: what runs the tasks of a queue."""

import logging
import math
import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from inspect import iscoroutinefunction
from types import FrameType
from typing import Any

from .. import callables
from ..backends.base import CAN_ALL_ELSE
from ..completion import completion_of
from ..constants import ALL
from ..context import TaskContext
from ..exceptions import Interrupted, InvalidOptionError, TaskTimeout
from ..execution import aperform, fallback, given_up, perform
from ..gator import Gator
from ..lease import TTL, Lease
from ..messages import Claim, Failure
from ..options import check_queue
from ..outcomes import Canceled, Failed, Outcome, Retry, Settlement, Succeeded
from ..redaction import hide_password
from .consumer import Consumer, Urgency
from .polling import Polling
from .runners.base import Done, Runner
from .runners.loop import LoopRunner
from .runners.process import ChildLimits, process_runner
from .runners.thread import ThreadRunner
from .services.attendant import Attendant
from .services.base import Service
from .services.listener import Listener
from .services.pruner import Pruner
from .services.rescuer import Rescuer

LOGGER = "alligator_sql.worker"
GRACE = 25.0
"""Seconds that running tasks get to finish after a stop."""
SERVICE_PATIENCE = 2.0
"""Seconds that a stopping worker waits for its services."""
HEAD_START = 0.0005
"""Seconds in which a consumer that was woken sends its claim. Whatever else runs holds it up."""
AT_ONCE = 3
"""The signal that ends the process without any further ado."""
EXECUTORS = ("threads", "processes", "asyncio", "auto")
"""Where tasks may run; see :class:`Worker`."""
MEBIBYTE = 1024 * 1024


class Worker:
    """Consumes queues of a gator and runs their tasks.

    Subclasses may override ``starting``, ``interrupt``, ``stopping`` and ``result``.

    Ex::

        Worker(gator, concurrency=8).run_forever()

    Args:
        gator: The gator whose tasks are run.
        max_tasks: Stop after so many tasks; 0 for never.
        to_consume: The queues, most important first: a list, or names with commas. By
            default the queue of the gator.
        nap_time: Seconds between looks at an idle queue. The first looks come after a
            quarter of it, or after a fortieth where new tasks wake the worker; while nothing
            comes the pause doubles, to 1 s, or to 5 s while new tasks wake it.
        log_level: The level of ``worker.log``.
        concurrency: How many tasks run at the same time.
        executor: Where they run. ``"threads"``: each on a thread; so do coroutines, which
            share one event loop but keep a thread waiting. ``"processes"``: each in a child
            process, for work of the processor and for what may crash. ``"asyncio"``: coroutine
            functions on one event loop, thousands of them if need be; plain functions one at
            a time on a thread beside it. ``"auto"``: coroutine functions on the event loop,
            plain functions on threads, up to ``concurrency`` of each.
        max_tasks_per_child: Replace a child process after so many tasks; 0 for never.
        max_memory_per_child: Replace a child process once it uses more MiB than this after a
            task; 0 for never.
        burst: Stop when nothing is due.
        grace: Seconds that running tasks get to finish after a stop.
        lease: Seconds after which the tasks of a worker that died are taken back.
        keep_success: Seconds that successful tasks stay in the history, by default a day.
        keep_failed: Seconds that failed and canceled tasks stay there, by default 30 days, and
            a day in Redis.

    Raises:
        InvalidOptionError: An argument has an impossible value.
        Unsupported: The store has no history, so nothing to keep for any time.
    """

    def __init__(
        self,
        gator: Gator,
        max_tasks: int = 0,
        to_consume: str | Iterable[str] = ALL,
        nap_time: float = 0.1,
        log_level: int | str = logging.INFO,
        *,
        concurrency: int = 1,
        executor: str = "threads",
        max_tasks_per_child: int = 0,
        max_memory_per_child: float = 0,
        burst: bool = False,
        grace: float = GRACE,
        lease: float = TTL,
        keep_success: float | None = None,
        keep_failed: float | None = None,
    ) -> None:
        if not gator.store.capabilities.retention and (keep_success, keep_failed) != (None, None):
            raise gator.store.cannot("honour keep_success and keep_failed", CAN_ALL_ELSE)
        keep_success = gator.store.keep_success if keep_success is None else keep_success
        keep_failed = gator.store.keep_failed if keep_failed is None else keep_failed
        for name, value, least in (
            ("max_tasks", max_tasks, 0),
            ("nap_time", nap_time, 0),
            ("concurrency", concurrency, 1),
            ("max_tasks_per_child", max_tasks_per_child, 0),
            ("max_memory_per_child", max_memory_per_child, 0),
            ("grace", grace, 0),
            ("lease", lease, 0.3),
            ("keep_success", keep_success, 0),
            ("keep_failed", keep_failed, 0),
        ):
            if not isinstance(value, int | float) or not least <= value < math.inf:
                raise InvalidOptionError(f"{name}={value!r}: give a number, at least {least}.")
        if executor not in EXECUTORS:
            raise InvalidOptionError(f"executor={executor!r}: give {', '.join(EXECUTORS)}.")
        if executor != "processes" and (max_tasks_per_child or max_memory_per_child):
            raise InvalidOptionError(
                f"executor={executor!r} has no child processes: max_tasks_per_child and "
                "max_memory_per_child are for executor='processes'."
            )
        self.gator = gator
        self.max_tasks = int(max_tasks)
        self.to_consume = to_consume
        self.queues = _queues(gator, to_consume)
        self.nap_time = nap_time
        self.log_level = log_level
        self.concurrency = int(concurrency)
        self.executor = executor
        self.child_limits = ChildLimits(
            int(max_tasks_per_child), int(max_memory_per_child * MEBIBYTE)
        )
        self.burst = burst
        self.grace = grace
        self.lease = lease
        self.keep_success = keep_success
        self.keep_failed = keep_failed
        self.tasks_complete = 0
        self.keep_running = False
        self.log = self.get_log(log_level)
        self._signals = 0
        self._interrupted_at: float | None = None
        self._consumer: Consumer | None = None
        self._attendant: Attendant | None = None
        self._completion = completion_of(gator.store)

    def get_log(self, log_level: int | str) -> logging.Logger:
        """Return the logger of the worker, set to ``log_level``."""
        log = logging.getLogger(LOGGER)
        log.setLevel(log_level.upper() if isinstance(log_level, str) else log_level)
        return log

    def ident(self) -> str:
        """Return the name of this worker in messages; it has the process id."""
        return f"Alligator Worker (#{os.getpid()})"

    def starting(self) -> None:
        """Say that the worker starts: what it consumes, from where, and how to stop it."""
        self.keep_running = True
        ends = ["stop with Ctrl-C or SIGTERM, twice to stop at once"]
        if self.burst:
            ends.insert(0, "stops when nothing is due")
        if self.max_tasks:
            ends.insert(0, f"stops after {self.max_tasks} tasks")
        slots = f"{self.concurrency} at a time, executor {self.executor}"
        store = hide_password(self.gator.conn_string) or self.gator.store.name
        self.log.info(
            "%s consuming %s from %s, %s; %s",
            self.ident(),
            ", ".join(self.queues),
            store,
            slots,
            "; ".join(ends),
            extra={"queues": list(self.queues), "concurrency": self.concurrency, "store": store},
        )

    def interrupt(self) -> None:
        """Say that the worker was told to stop. Running tasks are finished first."""
        self.keep_running = False
        self.log.info(
            "%s was told to stop, finishing what runs (up to %g s)", self.ident(), self.grace
        )

    def stopping(self) -> None:
        """Say that the worker has stopped."""
        self.keep_running = False
        stale = self.gator.store.stale_outcomes
        self.log.info(
            "%s stopped after %d tasks%s",
            self.ident(),
            self.tasks_complete,
            f"; {stale} outcomes came too late" if stale else "",
            extra={"tasks": self.tasks_complete, "stale_outcomes": stale},
        )

    def result(self, result: Any) -> None:
        """Receive what a successful task returned; does nothing unless overridden."""

    def stop(self) -> None:
        """Stop as the first signal does; may be called from any thread."""
        self._stop(self._signals + 1)

    def _stop(self, stage: int) -> None:
        self._signals = stage
        if self._consumer is not None:
            self._consumer.stop()

    def _stage_after(self, _number: int) -> int:
        """How often the worker has been told to stop, with this signal."""
        return self._signals + 1

    def run_forever(self) -> int:
        """Run tasks until stopped, or until ``max_tasks`` or ``burst`` ends it.

        The first SIGTERM, SIGINT or SIGHUP stops claiming and hands back what has not started;
        what runs may finish within ``grace``. Then, or at a second signal, the rest is told
        to stop and released to run elsewhere. A third one ends the process at once, as a
        crash would, with the exit code 128 + the number of the signal.

        Returns:
            0, the exit code of a stop in order.

        Raises:
            StoreUnavailableError: The store does not answer when the worker starts.
            SchemaError: Its tables are missing or too old.
        """
        self.gator.open()
        self._signals = 0
        self._interrupted_at = None
        with self._signal_handlers():
            self.starting()  # whoever has read of it may stop it
            self._serve()
        self.stopping()
        return 0

    def _serve(self) -> None:
        store = self.gator.store
        with Lease(store, self.queues, self.lease, self._lease_lost, patient=True) as lease:
            listener = Listener(store, self.queues, self._wake) if store.capabilities.wake else None
            self._consumer = Consumer(
                store,
                self.queues,
                lease,
                self.concurrency,
                self._runner,
                Polling(self.nap_time / (40 if store.capabilities.wake else 4)),
                self._finished,
                self._give_up,
                lambda: listener is not None and listener.healthy,
                max_tasks=self.max_tasks,
                burst=self.burst,
            )
            if self._signals:  # one came before the consumer could hear it
                self._consumer.stop()
            services = self._services(listener, lease, self._consumer)
            for service in services:
                service.start()
            try:
                lease.holds = not self._consumer.run(self._urgency)
            finally:
                _end(services)
                self._consumer = None
                self._attendant = None

    def check_and_run_task(self) -> bool:
        """Run one due task on this thread and return whether there was one.

        An error of the task is logged and recorded, not raised.
        """
        store = self.gator.store
        with Lease(store, self.queues, self.lease) as lease:
            claims = store.claim(self.queues, 1, lease.worker, thorough=True, begins=True)
            for claim in claims:
                if claim.suspect and not store.begin([claim]):
                    continue
                outcome = self._perform(claim, self._context(claim))
                store.ack([Settlement(claim, outcome)])
                self._finished(claim, outcome)
            return bool(claims)

    def _runner(self, done: Done) -> Runner:
        match self.executor:
            case "processes":
                return process_runner(
                    self.gator,
                    self.concurrency,
                    self.child_limits,
                    self.log.getEffectiveLevel(),
                    self._context,
                    done,
                    self._refusal,
                )
            case "asyncio" | "auto":
                return LoopRunner(
                    self.concurrency,
                    1 if self.executor == "asyncio" else self.concurrency,
                    self._is_coroutine,
                    self._context,
                    self._perform,
                    self._aperform,
                    done,
                )
        return ThreadRunner(self.concurrency, self._context, self._perform, done)

    def _context(self, claim: Claim) -> TaskContext:
        return TaskContext(claim, self._completion, reports=self.gator.store.capabilities.progress)

    def _is_coroutine(self, claim: Claim) -> bool:
        try:
            with self.gator.policy.active():
                return _is_coroutine_function(callables.resolve(claim.func))
        except BaseException:  # whoever runs it finds out, and says so; the loop must go on
            return False

    def _services(
        self, listener: Listener | None, lease: Lease, consumer: Consumer
    ) -> list[Service]:
        store = self.gator.store
        services: list[Service] = [] if listener is None else [listener]
        if store.capabilities.interrupt or store.capabilities.progress:
            self._attendant = Attendant(
                store,
                self.lease,
                lambda: lease.worker,
                consumer.held,
                consumer.running,
                consumer.cancel,
            )
            services.append(self._attendant)
        if store.capabilities.lease:
            services.append(Rescuer(store, self.lease, self._wake))
        if store.capabilities.retention:
            services.append(Pruner(store, self.keep_success, self.keep_failed))
        return services

    def _wake(self) -> None:
        if self._consumer is not None:
            self._consumer.wake()
            time.sleep(HEAD_START)
        if self._attendant is not None:
            self._attendant.wake()

    def _lease_lost(self) -> None:
        if self._consumer is not None:
            self._consumer.lose()

    def _refusal(self, claim: Claim) -> Outcome | None:
        return None if self._consumer is None else self._consumer.refusal(claim)

    def _perform(self, claim: Claim, context: TaskContext) -> Outcome:
        refused = self._refusal(claim)
        return refused or perform(claim, self.gator.task_class, self.gator.policy, context)

    async def _aperform(self, claim: Claim, context: TaskContext) -> Outcome:
        refused = self._refusal(claim)
        return refused or await aperform(claim, self.gator.task_class, self.gator.policy, context)

    def _give_up(self, claim: Claim, why: Interrupted | None) -> Outcome:
        last_will = None
        if isinstance(why, TaskTimeout):
            try:
                last_will = fallback(claim, self.gator.task_class, self.gator.policy)
            except Exception:  # a hook may have made it impossible to store
                self.log.exception("task %s cannot be tried again", claim.id)
        return given_up(why, "it did not stop, and ended with its worker", last_will)

    def _finished(self, claim: Claim, outcome: Outcome) -> None:
        match outcome:
            case Succeeded(value=value):
                self.tasks_complete += 1
                if self.log.isEnabledFor(logging.DEBUG):
                    self.log.debug("done: %s", claim.func, extra=_extra(claim))
                self._pass_on(value)
            case Failed(failure=failure, exception=exception):
                self.tasks_complete += 1
                self.log.error(
                    "failed: %s (task %s): %s%s", claim.func, claim.id, failure.message,
                    _traceback(failure, exception), exc_info=exception, extra=_extra(claim),
                )  # fmt: skip
            case Canceled():
                self.tasks_complete += 1
                self.log.info("canceled: %s (task %s)", claim.func, claim.id, extra=_extra(claim))
            case Retry(delay=delay, failure=failure, exception=exception):
                self.tasks_complete += 1
                self.log.warning(
                    "retrying in %.1f s: %s (task %s): %s%s", delay, claim.func, claim.id,
                    failure.message, _traceback(failure, exception), exc_info=exception,
                    extra=_extra(claim),
                )  # fmt: skip

    def _pass_on(self, value: Any) -> None:
        try:
            self.result(value)
        except Exception:  # the task is done, whatever a subclass makes of its result
            self.log.exception("%s.result() failed", type(self).__name__)

    def _urgency(self) -> Urgency:
        """Say once that the worker stops; return how soon it is to end."""
        if self._interrupted_at is None:
            self._interrupted_at = time.monotonic()
            self.interrupt()
        late = time.monotonic() - self._interrupted_at >= self.grace
        return Urgency.RELEASE if late or self._signals > 1 else Urgency.FINISH

    @contextmanager
    def _signal_handlers(self) -> Iterator[None]:
        """Stop on SIGTERM, SIGINT and SIGHUP, where this is the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def handle(number: int, _frame: FrameType | None) -> None:
            stage = self._stage_after(number)
            if stage >= AT_ONCE:
                os._exit(128 + number)
            self._stop(stage)

        numbers = [signal.SIGTERM, signal.SIGINT]
        if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # not under nohup
            numbers.append(signal.SIGHUP)
        before = {number: signal.signal(number, handle) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                if handler is not None:  # it was set from C, and is out of Python's reach
                    signal.signal(number, handler)


_is_coroutine_function = lru_cache(maxsize=4096)(iscoroutinefunction)


def _end(services: Sequence[Service]) -> None:
    """Stop services, and wait a moment for those that may be using the store."""
    for service in services:
        service.stop()
    deadline = time.monotonic() + SERVICE_PATIENCE
    for service in services:
        # A listener that hears only waits, and ends by itself.
        if not (isinstance(service, Listener) and service.healthy):
            service.join(max(0.0, deadline - time.monotonic()))


def _extra(claim: Claim) -> dict[str, Any]:
    """What a log line about a task has for machines to read."""
    return {"task_id": str(claim.id), "func": claim.func, "attempt": claim.attempts}


def _traceback(failure: Failure, exception: BaseException | None) -> str:
    """The traceback as text, where the exception has stayed in a child process."""
    return f"\n{failure.traceback.rstrip()}" if failure.traceback and exception is None else ""


def _queues(gator: Gator, to_consume: str | Iterable[str]) -> Sequence[str]:
    if to_consume == ALL:
        return (gator.queue_name,)
    if isinstance(to_consume, str):
        to_consume = [name.strip() for name in to_consume.split(",")]
    queues = tuple(check_queue(name) for name in to_consume)
    if not queues:
        raise InvalidOptionError("to_consume names no queue.")
    return queues
