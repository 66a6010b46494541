"""Where ``async def`` tasks run: one event loop, on one thread of its own.

Code that is synchronous, as every part of a worker is, hands a coroutine over and waits
for its end. The thread starts with the first coroutine.
"""

import asyncio
import os
import threading
from collections.abc import Coroutine
from typing import Any

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_owner_pid = 0


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run ``coroutine`` to its end on the loop's thread and return what it returns."""
    return asyncio.run_coroutine_threadsafe(coroutine, _running_loop()).result()


def _running_loop() -> asyncio.AbstractEventLoop:
    global _loop, _owner_pid
    with _lock:
        if _loop is None or _owner_pid != os.getpid():  # threads do not survive a fork
            _loop = asyncio.new_event_loop()
            _owner_pid = os.getpid()
            threading.Thread(target=_loop.run_forever, name="alligator-loop", daemon=True).start()
        return _loop
