"""Tasks that are enqueued one by one, each with a commit of its own."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from ..peers.contenders import DRIVERS, OURS, Contender
from ..run import Run
from ..servers import Store
from ..stats import Measurement, interleave


def measure(store: Store, run: Run) -> list[Measurement]:
    """Compare ``gator.task`` with the driver storing the same, and with the peers."""
    number = 200 if run.quick else 3000
    driver = DRIVERS[store.kind]
    taking_part = [OURS, driver, *run.peers(store.kind)]
    if store.kind == "postgresql":
        taking_part.append(replace(driver, name="psycopg, two and commit", options={"way": 1}))
    contenders: dict[str, Callable[[], float]] = {
        contender.name: partial(_rate, store, contender, number) for contender in taking_part
    }
    samples = interleave(
        1 if run.quick else 7, contenders, warm_up=not run.quick, peers=run.names(store.kind)
    )
    return [Measurement("one by one", "tasks/s", samples, driver.name)]


def _rate(store: Store, contender: Contender, number: int) -> float:
    with contender.database(store) as dsn:
        return number / float(contender.ask(dsn, "enqueue", number))
