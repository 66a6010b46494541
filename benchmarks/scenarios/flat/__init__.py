"""Does a worker keep its rate, whatever else the database holds and whoever else is there?

One module for each case; ``CASE`` is what it is measured as.
"""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from ...draining import work_off
from ...run import Run
from ...servers import Store
from ...stats import Measurement, interleave
from . import analyzed, claimers, future, history, queues, snapshot
from .case import Case

PLAIN = Case("plain")
CASES = (history.CASE, future.CASE, queues.CASE, claimers.CASE, snapshot.CASE, analyzed.CASE)


def measure(store: Store, run: Run) -> list[Measurement]:
    """Compare the drain rate in every case with the plain one, each in its own database."""
    number = 1_000 if run.quick else 30_000
    contenders: dict[str, Callable[[], float]] = {}
    with ExitStack() as stack:
        for case in (PLAIN, *CASES):
            dsn = stack.enter_context(store.database())
            size = case.quick_size if run.quick else case.size
            stack.enter_context(case.prepare(dsn, size))
            contenders[case.name.format(size)] = partial(_rate, store, dsn, case, size, number)
        samples = interleave(1 if run.quick else 5, contenders, warm_up=not run.quick)
    return [Measurement("drain", "tasks/s", samples, PLAIN.name)]


def _rate(store: Store, dsn: str, case: Case, size: int, number: int) -> float:
    if case.analyzed_empty:
        store.analyze(dsn)
    case.fill(dsn, size, number)
    if not case.analyzed_empty:
        store.analyze(dsn)
    return work_off(dsn, case.contender(size), case.processes(size), number)
