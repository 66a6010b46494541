"""What a worker costs that has nothing to do."""

import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

import psutil  # type: ignore[import-untyped]

from .. import processes
from ..servers import Store
from ..stats import Measurement, Samples

OURS = "alligator-sql worker"
RAW = "driver: one connection"

Contenders = Mapping[str, Callable[[str], AbstractContextManager["subprocess.Popen[bytes]"]]]
"""What runs a process at a database, by its name."""


def measure(store: Store, quick: bool) -> list[Measurement]:
    """Compare a worker with a Python process that holds a connection."""
    return compare(
        store,
        quick,
        {
            OURS: lambda dsn: processes.background(processes.worker(dsn)),
            RAW: lambda dsn: processes.background(processes.python("-c", store.holder(dsn))),
        },
    )


def compare(store: Store, quick: bool, contenders: Contenders) -> list[Measurement]:
    """Watch one contender after the other: what the server counts is then of that one."""
    settling, window, windows = (1.0, 1.5, 1) if quick else (15.0, 10.0, 3)
    cpu: Samples = {name: [] for name in contenders}
    memory: Samples = {name: [] for name in contenders}
    served: dict[str, Samples] = {}
    for name, run in contenders.items():
        with store.database() as dsn, run(dsn) as process:
            time.sleep(settling)
            watched = psutil.Process(process.pid)
            for _ in range(windows):
                before, served_before = _cpu_seconds(watched), store.served(dsn)
                time.sleep(window)
                for kind, number in store.served(dsn).items():
                    rate = (number - served_before[kind]) / window
                    served.setdefault(kind, {}).setdefault(name, []).append(rate)
                cpu[name].append((_cpu_seconds(watched) - before) / window * 1e3)
                memory[name].append(watched.memory_info().rss / 1e6)
    return [
        Measurement("CPU", "ms/s", cpu, RAW),
        Measurement("memory", "MB", memory, RAW),
        *(Measurement(kind, "1/s", samples) for kind, samples in served.items()),
    ]


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
