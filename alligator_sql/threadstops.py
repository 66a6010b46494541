"""Raising an exception in another thread, at its next step in Python.

CPython does that for us, and it is what it is: a thread that waits in C, in a ``sleep`` or
for a socket, gets the exception when it comes back from there. A thread that never comes
back never gets it.
"""

import ctypes
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from .context import TaskContext
from .exceptions import Interrupted, WorkerStopping

T = TypeVar("T")

# A handle of our own: the types of arguments that others have set on theirs stay theirs.
_set_async_exc = ctypes.PyDLL(None).PyThreadState_SetAsyncExc
_set_async_exc.argtypes = [ctypes.c_ulong, ctypes.py_object]


def call(context: TaskContext, function: Callable[..., T], *args: Any) -> T:
    """Call ``function`` on this thread; when ``context`` is interrupted that is raised in it.

    Only a worker that stops is not: the task is told by its context then, and may finish.

    Raises:
        Interrupted: As an instance without a text; ``context.interruption`` has the reason.
        BaseException: What the function raises.
    """
    thread = threading.get_ident()

    def stop(why: Interrupted) -> None:
        if not isinstance(why, WorkerStopping):
            _set_async_exc(thread, type(why))

    try:
        context.stop_by(stop)
        return function(*args)
    finally:
        _settle(context)


def _settle(context: TaskContext) -> None:
    """See that nothing is raised in this thread any more.

    What is on its way has to arrive. If it were called off instead, CPython before 3.13 would
    go on looking for it in all threads, and 3.11 under a tracer would do nothing else any more.
    """
    while True:
        try:
            context.end()  # takes the lock, so nobody raises anything after it
            if context.interruption is not None:
                _look_around()
            return
        except Interrupted:  # it was on its way
            continue


def _look_around() -> None:
    """Take enough steps in Python for what is on its way to arrive."""
    for _ in range(10):
        pass
