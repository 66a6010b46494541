"""Plays a role in a measurement: ``python -m benchmarks.peers.roles MODULE CLASS DSN ROLE …``.

Answers are printed as JSON. A worker says that it is ready and waits for a line.
"""

import json
import random
import sys
import time
from collections.abc import Callable
from importlib import import_module

from . import tasks
from .adapter import Adapter
from .meter import Meter

WARM_UP = 20
SHORTEST, LONGEST = 0.03, 0.08
"""Seconds between two tasks for a worker that is idle."""


def enqueue(adapter: Adapter, number: str) -> float:
    """Return the seconds that it takes to enqueue ``number`` tasks one by one."""
    adapter.enqueue_one_by_one(WARM_UP)
    return adapter.enqueue_one_by_one(int(number))


def fill(adapter: Adapter, number: str) -> None:
    """Enqueue ``number`` tasks."""
    adapter.fill(int(number))


def time_starts(adapter: Adapter, number: str, path: str) -> list[float]:
    """Return the milliseconds from the return of the call to the start, for ``number`` tasks.

    Each is enqueued when the worker has been idle for a while.
    """
    waits = []
    for each in range(-1, int(number)):  # the first finds a worker that has just been started
        time.sleep(random.uniform(SHORTEST, LONGEST))
        adapter.enqueue(tasks.note_start, path, each)
        enqueued = time.time()
        time.sleep(SHORTEST)
        while (started := tasks.starts(path).get(each)) is None:
            time.sleep(0.005)
        waits.append((started - enqueued) * 1e3)
    return waits[1:]


def work(adapter: Adapter, path: str) -> None:
    """Be a worker that drains a queue and counts in the file ``path``."""
    tasks.meter = Meter(path)
    _wait_for_start()
    adapter.work()


def wait(adapter: Adapter) -> None:
    """Be a worker that waits for tasks."""
    _wait_for_start()
    adapter.wait()


def _wait_for_start() -> None:
    print("ready", flush=True)
    sys.stdin.readline()


ROLES: dict[str, Callable[..., object]] = {
    role.__name__: role for role in (enqueue, fill, time_starts, work, wait)
}

if __name__ == "__main__":
    module, class_name, dsn, role, *arguments = sys.argv[1:]
    adapter = getattr(import_module(module), class_name)(dsn)
    print(json.dumps(ROLES[role](adapter, *arguments)))
