"""A full queue of tasks that do nothing, worked off by real processes."""

from collections.abc import Callable
from functools import partial

from ..draining import work_off
from ..peers.contenders import DRIVERS, OURS, OURS_EIGHT, Contender
from ..run import Run
from ..servers import Store
from ..stats import Measurement, interleave


def measure(store: Store, run: Run) -> list[Measurement]:
    """Compare the workers of all contenders."""
    number = 2_000 if run.quick else 30_000
    taking_part = [OURS, *run.peers(store.kind)]
    if store.kind != "redis":
        taking_part.append(DRIVERS[store.kind])
    if not run.quick:
        taking_part.append(OURS_EIGHT)
    measurements = []
    for workers in (2,) if run.quick else (1, 2):
        contenders: dict[str, Callable[[], float]] = {
            contender.name: partial(_rate, store, contender, workers, int(number * contender.share))
            for contender in taking_part
        }
        samples = interleave(
            1 if run.quick else 5, contenders, warm_up=not run.quick, peers=run.names(store.kind)
        )
        name = f"{workers} process{'es' if workers > 1 else ''}"
        measurements.append(Measurement(name, "tasks/s", samples, run.rival(store.kind).name))
    return measurements


def _rate(store: Store, contender: Contender, workers: int, number: int) -> float:
    with contender.database(store) as dsn:
        contender.ask(dsn, "fill", number)
        store.analyze(dsn)
        return work_off(dsn, contender, workers, number)
