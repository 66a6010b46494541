"""What a worker costs that has nothing to do."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import psutil  # type: ignore[import-untyped]

from .. import processes
from ..peers.contenders import OURS, Contender
from ..run import Run
from ..servers import Store
from ..stats import Measurement, Samples, interleave

COMMAND = "alligator-sql worker"
HOLDER = "driver: one connection"


def measure(store: Store, run: Run) -> list[Measurement]:
    """Watch one worker after the other: what the server counts is then of that one.

    Ours runs by its command, as users run it. A Python process that holds a connection is
    what they are compared with.
    """
    contenders: dict[str, Contender | None] = {HOLDER: None, COMMAND: OURS}
    contenders |= {peer.name: peer for peer in run.peers(store.kind)}
    found = interleave(
        1,
        {
            name: partial(_watched, store, name, contender, run.quick)
            for name, contender in contenders.items()
        },
        warm_up=False,
        peers=run.names(store.kind),
    )
    samples: dict[str, Samples] = {}
    for name, (watched,) in found.items():
        for key, values in watched.items():
            samples.setdefault(key, {})[name] = values
    units = {"CPU": "ms/s", "memory": "MB"}
    return [
        Measurement(key, units.get(key, "1/s"), values, HOLDER if key in units else None)
        for key, values in samples.items()
    ]


def _watched(
    store: Store, name: str, contender: Contender | None, quick: bool
) -> dict[str, list[float]]:
    settling, window, windows = (0.5, 0.5, 1) if quick else (15.0, 10.0, 3)
    found: dict[str, list[float]] = {"CPU": [], "memory": []}
    with _waiting(store, name, contender) as (dsn, process):
        time.sleep(settling)
        watched = psutil.Process(process.pid)
        for _ in range(windows):
            before, served_before = _cpu_seconds(watched), store.served(dsn)
            time.sleep(window)
            for kind, number in store.served(dsn).items():
                found.setdefault(kind, []).append((number - served_before[kind]) / window)
            found["CPU"].append((_cpu_seconds(watched) - before) / window * 1e3)
            found["memory"].append(watched.memory_info().rss / 1e6)
    return found


@contextmanager
def _waiting(
    store: Store, name: str, contender: Contender | None
) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """Give a database and a process that waits there."""
    if contender is None or name == COMMAND:
        with store.database() as dsn:
            command = (
                processes.python("-c", store.holder(dsn))
                if contender is None
                else processes.worker(dsn)
            )
            with processes.background(command) as process:
                yield dsn, process
    else:
        with contender.database(store) as dsn, contender.waiting(dsn) as process:
            yield dsn, process


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
