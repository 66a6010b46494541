"""Where ``async def`` tasks run: one event loop, on one thread of its own.

Code that is synchronous, as every part of a worker is, hands a coroutine over and waits
for its end. The thread starts with the first coroutine.
"""

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, cast

from .context import running_task
from .exceptions import Interrupted

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_thread: threading.Thread | None = None


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run ``coroutine`` to its end on the loop's thread and return what it returns.

    It is cancelled when the task that runs here is interrupted.

    Raises:
        BaseException: What the coroutine raised.
        RuntimeError: Called on the loop's own thread, which would wait for itself.
    """
    loop = running_loop()
    if threading.current_thread() is _thread:
        coroutine.close()
        raise RuntimeError(
            "A coroutine task cannot run another one in this process: await the function itself, "
            "or enqueue it with is_async=True."
        )
    ended = asyncio.run_coroutine_threadsafe(_caught(coroutine), loop)
    value, error = ended.result()
    if error is not None:
        raise error
    return value


async def _caught(coroutine: Coroutine[Any, Any, Any]) -> tuple[Any, BaseException | None]:
    """Hand an error on as a value: a SystemExit would end the loop, and all other tasks."""
    try:
        context = running_task()
        if context is None:
            return await coroutine, None
        with context.stopped_by(canceling()):
            return await coroutine, None
    except BaseException as error:
        return None, error


def canceling() -> Callable[[Interrupted], None]:
    """Return what cancels the asyncio task that runs here, from any thread."""
    loop = asyncio.get_running_loop()
    task = cast("asyncio.Task[Any]", asyncio.current_task())  # coroutines run in tasks only

    def cancel(_why: Interrupted) -> None:
        with suppress(RuntimeError):  # the loop is closed, so nothing runs on it
            loop.call_soon_threadsafe(task.cancel)

    return cancel


def running_loop() -> asyncio.AbstractEventLoop:
    """Return the loop that runs on its own thread in this process."""
    global _loop, _thread
    with _lock:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            _thread = threading.Thread(target=_loop.run_forever, name="alligator-loop", daemon=True)
            _thread.start()
        return _loop


def _begin_anew() -> None:
    """Let a child make a loop of its own: after a fork it has no thread that lets go of a lock."""
    global _lock, _loop
    _lock, _loop = threading.Lock(), None


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_begin_anew)
