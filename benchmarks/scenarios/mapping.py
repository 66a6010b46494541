"""Very many tasks from a generator: the rate, and the memory that it takes."""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from multiprocessing import get_context
from time import perf_counter
from typing import Any

import psutil  # type: ignore[import-untyped]

from alligator_sql import Gator

from ..peers.tasks import deliver, mail
from ..run import Run
from ..servers import Store
from ..stats import Measurement


def measure(store: Store, run: Run) -> list[Measurement]:
    """Map in a process of its own, and watch its memory."""
    number = 50_000 if run.quick else 1_000_000
    rates: list[float] = []
    memory: dict[str, list[float]] = {"at a tenth": [], "most": []}
    for _ in range(1 if run.quick else 3):
        with (
            store.database() as dsn,
            ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool,
        ):
            seconds, tenth, most = pool.submit(mapped, dsn, number).result()
        rates.append(number / seconds)
        memory["at a tenth"].append(tenth)
        memory["most"].append(most)
    title = f"{number:,} items"
    return [
        Measurement(f"{title}: rate", "tasks/s", {"gator.map": rates}),
        Measurement(f"{title}: memory", "MB", memory, "at a tenth"),
    ]


def mapped(dsn: str, number: int) -> tuple[float, float, float]:
    """Return seconds, and the MB that the process held after a tenth and at most."""
    process = psutil.Process()
    held: dict[int, float] = {}

    def look(stored: int) -> None:
        held[stored] = process.memory_info().rss / 1e6

    def items() -> Iterator[dict[str, Any]]:
        return (mail(each) for each in range(number))

    with closing(Gator(dsn)) as gator:
        started = perf_counter()
        gator.map(deliver, items(), progress=look)
        seconds = perf_counter() - started
    tenth = max(size for stored, size in held.items() if stored <= number / 10)
    return seconds, tenth, max(held.values())
