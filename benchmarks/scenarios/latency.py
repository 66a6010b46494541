"""How soon an idle worker in another process starts a task that was just committed."""

import random
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial

from alligator_sql import Gator, Task

from .. import processes, raw
from ..peers.tasks import note_start, starts
from ..servers import Store
from ..stats import Measurement, by_key, interleave, percentiles

RAW = "driver: notified, claims one"
GAPS = {"idle": (0.03, 0.08), "busy": (0.001, 0.02)}
"""Seconds between two tasks: a worker that was idle, and one that has just been woken."""


def measure(store: Store, quick: bool) -> list[Measurement]:
    """Compare a worker with a process that waits for news and only claims."""
    number = 20 if quick else 300
    with (
        store.database() as dsn,
        closing(Gator(dsn)) as gator,
        closing(raw.connect(dsn)) as connection,
    ):

        def enqueue(path: str, each: int) -> None:
            gator.task(note_start, path, each)

        def insert(path: str, each: int) -> None:
            task = Task()
            task.to_call(note_start, path, each)
            connection.enqueue(gator.message_of(task))

        found = interleave(
            1 if quick else 3,
            {
                "alligator-sql worker": partial(
                    _percentiles, processes.worker(dsn), enqueue, number
                ),
                RAW: partial(
                    _percentiles,
                    processes.python("-m", "benchmarks.raw_worker", dsn),
                    insert,
                    number,
                ),
            },
            warm_up=False,
        )
    return [Measurement(name, "ms", samples, RAW) for name, samples in by_key(found).items()]


def _percentiles(
    consumer: Sequence[str], enqueue: Callable[[str, int], None], number: int
) -> dict[str, float]:
    with tempfile.NamedTemporaryFile("r") as file, processes.background(consumer):
        _waits(file.name, enqueue, range(-1, 0), 0.0, 0.0)  # the consumer takes time to start
        found: dict[str, float] = {}
        for place, (name, gaps) in enumerate(GAPS.items()):
            numbers = range(place * number, (place + 1) * number)
            waits = _waits(file.name, enqueue, numbers, *gaps)
            found |= {f"{name}: {key}": value for key, value in percentiles(waits).items()}
    return found


def _waits(
    path: str, enqueue: Callable[[str, int], None], numbers: range, shortest: float, longest: float
) -> list[float]:
    """Enqueue ``numbers`` and return how many milliseconds each of them waited."""
    committed: dict[int, float] = {}
    for each in numbers:
        time.sleep(random.uniform(shortest, longest))
        enqueue(path, each)
        committed[each] = time.time()
    processes.wait_until(lambda: committed.keys() <= starts(path).keys(), "the last task")
    started = starts(path)
    return [(started[each] - at) * 1e3 for each, at in committed.items()]
