"""Working off a full queue by real processes."""

import tempfile
from contextlib import ExitStack
from pathlib import Path

from . import processes
from .peers import meter
from .peers.contenders import Contender, start


def work_off(dsn: str, contender: Contender, workers: int, number: int) -> float:
    """Run worker processes until all ``number`` tasks have run; return tasks per second.

    From the first start to the last one. The tasks themselves note it, in memory that this
    process reads, so that it is the same for all and the store knows nothing of it.

    Raises:
        RuntimeError: Tasks were lost or ran twice, or a process is broken.
    """
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        paths = [Path(folder) / str(worker) for worker in range(workers)]
        team = [stack.enter_context(contender.ready(dsn, "work", path)) for path in paths]
        for process in team:
            start(process)

        def calls() -> int:
            return sum(meter.read(path).calls for path in paths)

        def done() -> bool:
            for process in team:
                if process.poll() is not None:
                    raise RuntimeError(f"a worker of {contender.name} ended by itself")
            return calls() >= number

        processes.wait_until(done, f"the tasks of {contender.name}", progress=calls)
        readings = [reading for path in paths if (reading := meter.read(path)).calls]
        if calls() != number:
            raise RuntimeError(f"{contender.name} ran {calls()} tasks, not {number}")
    return number / (max(one.last for one in readings) - min(one.first for one in readings))
