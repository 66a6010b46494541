"""What a worker costs that has nothing to do."""

import time
from collections.abc import Callable, Sequence
from functools import partial

import psutil  # type: ignore[import-untyped]
from sqlalchemy import make_url

from .. import processes
from ..servers import Store
from ..stats import Measurement, by_key, interleave

RAW = "driver: one connection"
CONNECT = {
    True: "import sqlite3, time; connection = sqlite3.connect({!r}); time.sleep(1000)",
    False: "import psycopg, time; connection = psycopg.connect({!r}); time.sleep(1000)",
}
"""Programs that connect and do nothing, by whether the store is SQLite."""


def measure(store: Store, quick: bool) -> list[Measurement]:
    """Compare the worker with a Python process that holds a connection."""
    settling, window = (3.0, 3.0) if quick else (15.0, 10.0)
    with store.database() as dsn:
        target = make_url(dsn).database if store.is_sqlite else dsn
        program = CONNECT[store.is_sqlite].format(target)
        cost: Callable[[Sequence[str]], dict[str, float]] = partial(
            _cost, store, dsn, settling, window
        )
        found = interleave(
            1 if quick else 3,
            {
                "alligator-sql worker": lambda: cost(processes.worker(dsn)),
                RAW: lambda: cost(["-c", program]),
            },
            warm_up=False,
        )
    units = {"transactions": "1/s", "CPU": "ms/s", "memory": "MB"}
    return [Measurement(name, units[name], samples, RAW) for name, samples in by_key(found).items()]


def _cost(
    store: Store, dsn: str, settling: float, window: float, program: Sequence[str]
) -> dict[str, float]:
    with processes.background(program) as pid:
        process = psutil.Process(pid)
        time.sleep(settling)
        before, cpu_before = store.transactions(dsn), _cpu_seconds(process)
        time.sleep(window)
        after, cpu_after = store.transactions(dsn), _cpu_seconds(process)
        cost = {
            "CPU": (cpu_after - cpu_before) / window * 1e3,
            "memory": process.memory_info().rss / 1e6,
        }
        if before is not None and after is not None:
            cost["transactions"] = (after - before) / window
    return cost


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
