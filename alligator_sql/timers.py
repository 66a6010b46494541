"""Functions that are to be called at their time, by one thread for the whole process.

The thread starts with the first timer. What it calls must not wait for anything.
"""

import heapq
import logging
import os
import threading
import time
from collections.abc import Callable
from itertools import count

logger = logging.getLogger(__name__)

FEW = 1000
"""Timers among which those that were canceled are not looked for."""


class Timer:
    """A call that is to be made."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[[], object]) -> None:
        self._function: Callable[[], object] | None = function

    @property
    def is_canceled(self) -> bool:
        """Whether the call is not to be made any more."""
        return self._function is None

    def cancel(self) -> None:
        """Do not make the call, if it has not begun."""
        self._function = None

    def run(self) -> None:
        """Make the call, unless it was canceled."""
        function = self._function
        if function is not None:
            function()


class _Thread:
    """The thread that makes the calls, in one process."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._changed = threading.Condition()
        self._numbers = count()
        self._timers: list[tuple[float, int, Timer]] = []
        self._most = FEW
        threading.Thread(target=self._run, name="alligator-timers", daemon=True).start()

    def add(self, moment: float, timer: Timer) -> None:
        with self._changed:
            heapq.heappush(self._timers, (moment, next(self._numbers), timer))
            if len(self._timers) > self._most:
                self._tidy()
            if self._timers[0][2] is timer:
                self._changed.notify()

    def _tidy(self) -> None:
        """Forget what was canceled: a timeout of an hour is kept no hour for each quick task."""
        self._timers = [entry for entry in self._timers if not entry[2].is_canceled]
        heapq.heapify(self._timers)
        self._most = max(FEW, 2 * len(self._timers))

    def _run(self) -> None:
        while True:
            timer = self._next()
            try:
                timer.run()
            except Exception:  # one call that fails must not keep the others from their time
                logger.exception("a timer failed")

    def _next(self) -> Timer:
        with self._changed:
            while True:
                rest = self._timers[0][0] - time.monotonic() if self._timers else None
                if rest is not None and rest <= 0:
                    return heapq.heappop(self._timers)[2]
                self._changed.wait(rest)


_lock = threading.Lock()
_thread: _Thread | None = None


def at(moment: float, function: Callable[[], object]) -> Timer:
    """Let ``function`` be called at ``moment`` on the monotonic clock, and return the timer."""
    global _thread, _lock
    thread = _thread
    if thread is None or thread.pid != os.getpid():  # threads and locks do not survive a fork
        if thread is not None:
            _lock = threading.Lock()
        with _lock:
            if _thread is None or _thread.pid != os.getpid():
                _thread = _Thread()
            thread = _thread
    timer = Timer(function)
    thread.add(moment, timer)
    return timer
