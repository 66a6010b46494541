"""How soon an idle worker in another process starts a task that was just committed."""

import random
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from alligator_sql import Gator, Task

from .. import processes, raw
from ..servers import Store
from ..stats import Measurement, by_key, interleave, percentiles
from ..tasks import note_start

RAW = "driver: notified, claims one"
SHORTEST_GAP, LONGEST_GAP = 0.03, 0.08


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
                RAW: partial(_percentiles, ["-m", "benchmarks.raw_worker", dsn], insert, number),
            },
            warm_up=False,
        )
    return [Measurement(name, "ms", samples, RAW) for name, samples in by_key(found).items()]


def _percentiles(
    consumer: Sequence[str], enqueue: Callable[[str, int], None], number: int
) -> dict[str, float]:
    with tempfile.NamedTemporaryFile("r") as file, processes.background(consumer):

        def started() -> dict[int, float]:
            lines = Path(file.name).read_text().splitlines()
            return {int(each): float(at) for each, at in map(str.split, lines)}

        enqueue(file.name, -1)
        processes.wait_until(lambda: -1 in started(), "the first task")
        committed: dict[int, float] = {}
        for each in range(number):
            time.sleep(random.uniform(SHORTEST_GAP, LONGEST_GAP))
            enqueue(file.name, each)
            committed[each] = time.time()
        processes.wait_until(lambda: len(started()) > number, "the last task")
        starts = started()
    return percentiles([(starts[each] - at) * 1e3 for each, at in committed.items()])
