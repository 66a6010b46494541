"""What a worker costs that has nothing to do."""

import time

import psutil  # type: ignore[import-untyped]
from sqlalchemy import make_url

from .. import processes
from ..servers import Store
from ..stats import Measurement, Samples

OURS = "alligator-sql worker"
RAW = "driver: one connection"
CONNECT = {
    True: "import sqlite3, time; connection = sqlite3.connect({!r}); time.sleep(1000)",
    False: "import psycopg, time; connection = psycopg.connect({!r}); time.sleep(1000)",
}
"""Programs that connect and do nothing, by whether the store is SQLite."""


def measure(store: Store, quick: bool) -> list[Measurement]:
    """Compare a worker with a Python process that holds a connection, both at the same time."""
    settling, window, windows = (2.0, 3.0, 1) if quick else (15.0, 10.0, 3)
    with store.database() as dsn:
        target = make_url(dsn).database if store.is_sqlite else dsn
        with (
            processes.background(processes.worker(dsn)) as ours,
            processes.background(["-c", CONNECT[store.is_sqlite].format(target)]) as theirs,
        ):
            time.sleep(settling)
            watched = {OURS: psutil.Process(ours), RAW: psutil.Process(theirs)}
            cpu: Samples = {name: [] for name in watched}
            memory: Samples = {name: [] for name in watched}
            ended: list[float] = []
            for _ in range(windows):
                before = {name: _cpu_seconds(process) for name, process in watched.items()}
                ended_before = store.transactions(dsn)
                time.sleep(window)
                ended.append((store.transactions(dsn) - ended_before) / window)
                for name, process in watched.items():
                    cpu[name].append((_cpu_seconds(process) - before[name]) / window * 1e3)
                    memory[name].append(process.memory_info().rss / 1e6)
    measurements = [Measurement("CPU", "ms/s", cpu, RAW), Measurement("memory", "MB", memory, RAW)]
    if not store.is_sqlite:
        measurements.append(Measurement("transactions", "1/s", {OURS: ended}))
    return measurements


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
