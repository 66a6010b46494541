"""Many tasks at once."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from ..peers.contenders import DRIVERS, OURS, OURS_JOINED, Contender
from ..run import Run
from ..servers import Store
from ..stats import Measurement, interleave


def measure(store: Store, run: Run) -> list[Measurement]:
    """Compare ``map`` over a generator with loading the same rows, and with the peers."""
    number = 2_000 if run.quick else 50_000
    taking_part = [OURS, *run.peers(store.kind)]
    baseline = run.rival(store.kind)
    if store.kind != "redis":
        baseline = DRIVERS[store.kind]
        taking_part += [OURS_JOINED, baseline]
    if store.kind == "postgresql":
        taking_part.append(replace(baseline, name="psycopg, unnest", options={"way": 1}))
    contenders: dict[str, Callable[[], float]] = {
        contender.name: partial(_rate, store, contender, int(number * contender.share))
        for contender in taking_part
    }
    samples = interleave(
        1 if run.quick else 5, contenders, warm_up=not run.quick, peers=run.names(store.kind)
    )
    return [Measurement("bulk", "tasks/s", samples, baseline.name)]


def _rate(store: Store, contender: Contender, number: int) -> float:
    with contender.database(store) as dsn:
        return number / float(contender.ask(dsn, "enqueue_many", number))
