"""Tasks that are enqueued one by one, each with a commit of its own."""

from collections.abc import Callable
from contextlib import closing
from functools import partial
from time import perf_counter

from alligator_sql import Gator

from .. import raw
from ..peers.tasks import deliver, mail
from ..servers import Store
from ..stats import Measurement, interleave
from ..tasks import prepared


def measure(store: Store, quick: bool) -> list[Measurement]:
    """Compare ``gator.task`` with inserting the same two rows."""
    number = 100 if quick else 2000
    with (
        store.database() as dsn,
        closing(Gator(dsn)) as gator,
        closing(raw.connect(dsn)) as connection,
    ):

        def ours() -> float:
            connection.clear()
            started = perf_counter()
            for each in range(number):
                gator.task(deliver, mail(each))
            return number / (perf_counter() - started)

        def theirs(insert: raw.Insert) -> float:
            connection.clear()
            return number / insert(prepared(gator, number))

        inserts = connection.inserts()
        contenders: dict[str, Callable[[], float]] = {"gator.task": ours}
        contenders |= {name: partial(theirs, insert) for name, insert in inserts.items()}
        samples = interleave(3 if quick else 7, contenders)
    return [Measurement("own commit", "tasks/s", samples, next(iter(inserts)))]
