"""Tasks that are enqueued one by one."""

from collections.abc import Callable
from functools import partial

from ...peers.contenders import DRIVER, OURS, Contender, peers
from ...servers import Store
from ...stats import Measurement, interleave


def measure(store: Store, quick: bool) -> list[Measurement]:
    """Compare ``gator.task`` with sending its script alone, and with the other contenders."""
    number = 200 if quick else 5000
    contenders: dict[str, Callable[[], float]] = {
        contender.name: partial(_rate, store, contender, number)
        for contender in (OURS, DRIVER, *peers())
    }
    samples = interleave(1 if quick else 7, contenders, warm_up=not quick)
    return [Measurement("one by one", "tasks/s", samples, DRIVER.name)]


def _rate(store: Store, contender: Contender, number: int) -> float:
    with store.database() as dsn:
        return number / float(contender.ask(dsn, "enqueue", number))
