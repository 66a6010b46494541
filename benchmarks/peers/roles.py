"""Plays a role: ``python -m benchmarks.peers.roles MODULE CLASS OPTIONS DSN ROLE …``.

Options are those of the adapter, as JSON, and so is the answer. A worker says that it is ready
and waits for a line.
"""

import json
import random
import sys
import time
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from importlib import import_module

from . import tasks
from .adapter import Adapter
from .meter import Meter

WARM_UP = 20
GAPS = {"idle": (0.03, 0.08), "busy": (0.001, 0.02)}
"""Seconds between two tasks: for a worker that was idle, and one that has just been woken."""

TICK = 0.01
"""Seconds between two looks of a producer at the clock."""


def setup(adapter: Adapter) -> None:
    """Make what the contender needs in the database."""
    adapter.setup()


def enqueue(adapter: Adapter, number: str) -> float:
    """Return the seconds that it takes to enqueue ``number`` tasks one by one."""
    adapter.enqueue_one_by_one(WARM_UP)
    return adapter.enqueue_one_by_one(int(number))


def enqueue_many(adapter: Adapter, number: str) -> float:
    """Return the seconds that it takes to enqueue ``number`` tasks in the quickest way."""
    adapter.enqueue_many(WARM_UP)
    return adapter.enqueue_many(int(number))


def fill(adapter: Adapter, number: str, subject: str = tasks.SUBJECT) -> None:
    """Enqueue ``number`` tasks."""
    adapter.enqueue_many(int(number), subject)


def time_starts(adapter: Adapter, number: str, path: str, pace: str) -> list[float]:
    """Return the milliseconds from the return of the call to the start, for ``number`` tasks.

    If the pace is ``idle``, each is enqueued when the one before it has started.
    """
    enqueued: dict[int, float] = {}
    for each in range(-1, int(number)):  # the first finds a worker that has just been started
        time.sleep(random.uniform(*GAPS[pace]))
        adapter.enqueue(tasks.note_start, path, each)
        enqueued[each] = time.time()
        if each < 0 or pace == "idle":
            time.sleep(GAPS["idle"][0])
            _wait_for(path, {each})
    _wait_for(path, enqueued.keys())
    started = tasks.starts(path)
    return [(started[each] - at) * 1e3 for each, at in enqueued.items() if each >= 0]


def _wait_for(path: str, numbers: AbstractSet[int]) -> None:
    while not numbers <= tasks.starts(path).keys():
        time.sleep(0.005)


def work(adapter: Adapter, path: str) -> None:
    """Be a worker that drains a queue and counts in the file ``path``."""
    tasks.meter = Meter(path)
    _wait_for_start()
    adapter.work()


def produce(adapter: Adapter, rate: str) -> None:
    """Enqueue ``rate`` tasks per second, some at a time, until the process is ended."""
    _wait_for_start()
    started, enqueued = time.monotonic(), 0
    while True:
        due = int((time.monotonic() - started) * int(rate)) - enqueued
        if due:
            adapter.enqueue_many(due)
            enqueued += due
        time.sleep(TICK)


def wait(adapter: Adapter) -> None:
    """Be a worker that waits for tasks."""
    _wait_for_start()
    adapter.wait()


def _wait_for_start() -> None:
    print("ready", flush=True)
    sys.stdin.readline()


ROLES: dict[str, Callable[..., object]] = {
    role.__name__: role
    for role in (setup, enqueue, enqueue_many, fill, time_starts, produce, work, wait)
}

if __name__ == "__main__":
    module, class_name, options, dsn, role, *arguments = sys.argv[1:]
    adapter = getattr(import_module(module), class_name)(dsn, **json.loads(options))
    answer = ROLES[role](adapter, *arguments)
    adapter.close()
    print(json.dumps(answer))
