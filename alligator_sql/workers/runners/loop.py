"""Running coroutine functions on an event loop, thousands at a time if need be.

A plain function would hold up all of them, so it goes to threads beside the loop.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from threading import Lock

from ... import coroutines
from ...context import TaskContext
from ...messages import Claim
from ...outcomes import Outcome
from .base import Done, MakeContext, Perform, Runner, broken, is_stuck, tell_stuck
from .thread import ThreadRunner

PerformAsync = Callable[[Claim, TaskContext], Awaitable[Outcome]]
"""Runs a claim on the loop that calls it, and returns its outcome."""


class LoopRunner(Runner):
    """Up to ``slots`` coroutines at a time, and plain functions on some threads.

    Args:
        slots: How many coroutines.
        threads: How many threads for plain functions.
        is_coroutine: Tells by a claim whether its function is a coroutine function.
        context: Makes the context of a claim.
        perform: Runs a claim on a thread.
        aperform: Runs a claim on the loop.
        done: Called with what became of a claim.
    """

    def __init__(
        self,
        slots: int,
        threads: int,
        is_coroutine: Callable[[Claim], bool],
        context: MakeContext,
        perform: Perform,
        aperform: PerformAsync,
        done: Done,
    ) -> None:
        self._slots = slots
        self._is_coroutine = is_coroutine
        self._context = context
        self._perform = aperform
        self._done = done
        self._threads = ThreadRunner(threads, context, perform, done)
        self._loop = coroutines.running_loop()
        self._lock = Lock()
        self._waiting: deque[Claim] = deque()
        self._running: dict[TaskContext, asyncio.Task[None]] = {}
        self._stuck: dict[TaskContext, asyncio.Task[None]] = {}

    def start(self) -> None:
        """Start the threads for plain functions; the loop runs already."""
        self._threads.start()

    def submit(self, claims: list[Claim]) -> None:
        """Run ``claims`` as soon as there is room for them."""
        with self._lock:
            self._waiting.extend(claims)
        self._loop.call_soon_threadsafe(self._fill)

    def withdraw(self) -> list[Claim]:
        """Take back the claims that have not been started."""
        with self._lock:
            claims = list(self._waiting)
            self._waiting.clear()
        return claims + self._threads.withdraw()

    @property
    def waiting(self) -> int:
        """How many claims have not been started."""
        return len(self._waiting) + self._threads.waiting

    def running(self) -> list[TaskContext]:
        """Return what runs at this moment; some may be done already."""
        with self._lock:
            here = [*self._running, *self._stuck]
        return here + self._threads.running()

    def set_stuck_aside(self) -> int:
        """Let others run in the place of coroutines that do not end, and of such threads."""
        with self._lock:
            found = [context for context in self._running if is_stuck(context)]
            for context in found:
                self._stuck[context] = self._running.pop(context)
        tell_stuck(found, "its coroutine goes on, another one takes its place")
        if found:
            self._loop.call_soon_threadsafe(self._fill)
        return len(self._stuck) + self._threads.set_stuck_aside()

    def stop(self) -> None:
        """Let the threads end; the loop is that of the whole process."""
        self._threads.stop()

    # On the loop

    def _fill(self) -> None:
        while (claim := self._next()) is not None:
            if not self._is_coroutine(claim):
                self._threads.submit([claim])
                continue
            context = self._context(claim)
            with self._lock:  # the loop itself would let go of a task that nobody keeps
                self._running[context] = self._loop.create_task(self._run(claim, context))

    def _next(self) -> Claim | None:
        with self._lock:
            if not self._waiting or len(self._running) >= self._slots:
                return None
            return self._waiting.popleft()

    async def _run(self, claim: Claim, context: TaskContext) -> None:
        started = time.perf_counter()
        try:
            outcome = await self._perform(claim, context)
        except BaseException as error:
            outcome = broken(claim, error)
        with self._lock:
            self._running.pop(context, None)
            self._stuck.pop(context, None)
        self._done(claim, outcome, time.perf_counter() - started)
        self._fill()
