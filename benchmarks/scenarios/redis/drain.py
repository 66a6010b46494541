"""A full queue of tasks that do nothing, worked off by real processes."""

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from ... import processes
from ...peers import meter
from ...peers.contenders import HUEY, OURS, Contender, peers, start
from ...servers import Store
from ...stats import Measurement, interleave


def measure(store: Store, quick: bool) -> list[Measurement]:
    """Compare the workers of all contenders, each with one thread."""
    number = 2_000 if quick else 30_000
    measurements = []
    for workers in (1, 2):
        contenders: dict[str, Callable[[], float]] = {
            contender.name: partial(_rate, store, contender, workers, int(number * contender.share))
            for contender in (OURS, *peers())
        }
        samples = interleave(1 if quick else 5, contenders, warm_up=not quick)
        name = f"{workers} process{'es' if workers > 1 else ''}"
        measurements.append(Measurement(name, "tasks/s", samples, HUEY.name))
    return measurements


def _rate(store: Store, contender: Contender, workers: int, number: int) -> float:
    """Return tasks per second from the first start to the last one.

    The tasks themselves note it, in memory that this process reads, so that it is the same for
    all and costs the server nothing.
    """
    with store.database() as dsn, tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        contender.ask(dsn, "fill", number)
        paths = [Path(folder) / str(worker) for worker in range(workers)]
        team = [stack.enter_context(contender.ready(dsn, "work", path)) for path in paths]
        for process in team:
            start(process)

        def calls() -> int:
            return sum(meter.read(path).calls for path in paths)

        processes.wait_until(lambda: calls() >= number, f"the tasks of {contender.name}")
        readings = [reading for path in paths if (reading := meter.read(path)).calls]
        if calls() != number:
            raise RuntimeError(f"{contender.name} ran {calls()} tasks, not {number}")
    return number / (max(one.last for one in readings) - min(one.first for one in readings))
