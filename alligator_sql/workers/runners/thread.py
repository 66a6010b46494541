"""Running tasks on threads of this process."""

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable

from ...context import TaskContext
from ...messages import Claim
from .base import Done, MakeContext, Perform, Runner, broken, is_stuck, tell_stuck

logger = logging.getLogger(__name__)


class ThreadRunner(Runner):
    """A fixed number of threads that run claims in the order in which they came.

    The threads are daemons: a task that never ends must not keep a stopped worker alive.

    Args:
        slots: How many threads.
        context: Makes the context of a claim.
        perform: Runs a claim.
        done: Called with what became of it.
        thread_done: Called on each thread at its end.
    """

    def __init__(
        self,
        slots: int,
        context: MakeContext,
        perform: Perform,
        done: Done,
        thread_done: Callable[[], None] | None = None,
    ) -> None:
        self._pid = os.getpid()
        self._slots = slots
        self._context = context
        self._perform = perform
        self._done = done
        self._thread_done = thread_done
        self._waiting: deque[Claim] = deque()
        self._running: dict[threading.Thread, TaskContext] = {}
        self._stuck: dict[threading.Thread, TaskContext] = {}
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._stopping = False
        self._started = 0
        self._missing = 0

    def start(self) -> None:
        """Start the threads."""
        for _ in range(self._slots):
            self._start_thread()

    def _start_thread(self) -> None:
        self._started += 1
        name = f"alligator-{self._started}"
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def submit(self, claims: list[Claim]) -> None:
        """Run ``claims`` as soon as threads are free."""
        with self._lock:
            self._waiting.extend(claims)
            self._changed.notify(len(claims))

    def withdraw(self) -> list[Claim]:
        """Take back the claims that no thread has started."""
        with self._lock:
            claims = list(self._waiting)
            self._waiting.clear()
            return claims

    @property
    def waiting(self) -> int:
        """How many claims no thread has started."""
        return len(self._waiting)

    def running(self) -> list[TaskContext]:
        """Return what runs at this moment; some may be done already."""
        with self._lock:
            return [*self._running.values(), *self._stuck.values()]

    def set_stuck_aside(self) -> int:
        """Start new threads for those that do not come back."""
        with self._lock:
            found = {
                thread: context for thread, context in self._running.items() if is_stuck(context)
            }
            self._stuck |= found
            for thread in found:
                del self._running[thread]
        tell_stuck(found.values(), "its thread is stuck, another one takes its place")
        self._missing += len(found)
        self._start_missing()
        return len(self._stuck)

    def _start_missing(self) -> None:
        while self._missing:
            try:
                self._start_thread()
            except RuntimeError as error:  # tried again at the next look
                logger.error("%d threads cannot be started: %s", self._missing, error)
                return
            self._missing -= 1

    def stop(self) -> None:
        """Let the threads end once they have nothing to run."""
        with self._lock:
            self._stopping = True
            self._changed.notify_all()

    def _work(self) -> None:
        thread = threading.current_thread()
        try:
            while (found := self._next(thread)) is not None:
                claim, context = found
                started = time.perf_counter()
                try:
                    outcome = self._perform(claim, context)
                except BaseException as error:
                    outcome = broken(claim, error)
                if os.getpid() != self._pid:  # a fork that the task has made, and not ended
                    os._exit(0)
                self._done(claim, outcome, time.perf_counter() - started)
        finally:
            if self._thread_done is not None:
                self._thread_done()

    def _next(self, thread: threading.Thread) -> tuple[Claim, TaskContext] | None:
        """Note that what ``thread`` ran has ended, and return what it runs next, if anything."""
        with self._lock:
            if self._stuck.pop(thread, None) is not None:  # another thread has taken its place
                return None
            self._running.pop(thread, None)
            while not self._waiting:
                if self._stopping:
                    return None
                self._changed.wait()
            claim = self._waiting.popleft()
            context = self._running[thread] = self._context(claim)
            return claim, context
