"""Many tasks at once."""

from collections.abc import Callable
from contextlib import closing
from functools import partial
from time import perf_counter

from alligator_sql import Gator
from alligator_sql.backends.sql import engines

from .. import raw
from ..peers.tasks import deliver, mail
from ..servers import Store
from ..stats import Measurement, interleave
from ..tasks import prepared


def measure(store: Store, quick: bool) -> list[Measurement]:
    """Compare ``map`` over a generator with loading the same rows."""
    number = 2_000 if quick else 40_000
    with (
        store.database() as dsn,
        closing(Gator(dsn)) as gator,
        closing(raw.connect(dsn)) as connection,
    ):
        engine = engines.create(dsn)

        def commits() -> float:
            connection.clear()
            started = perf_counter()
            gator.map(deliver, (mail(each) for each in range(number)))
            return number / (perf_counter() - started)

        def joined() -> float:
            connection.clear()
            started = perf_counter()
            with engine.begin() as own:
                gator.using(own).map(deliver, (mail(each) for each in range(number)))
            return number / (perf_counter() - started)

        def theirs(insert: raw.Insert) -> float:
            connection.clear()
            return number / insert(prepared(gator, number))

        inserts = connection.bulk_inserts()
        contenders: dict[str, Callable[[], float]] = {
            "gator.map": commits,
            "gator.using().map": joined,
        }
        contenders |= {name: partial(theirs, insert) for name, insert in inserts.items()}
        samples = interleave(1 if quick else 7, contenders)
        engine.dispose()
    return [Measurement("bulk", "tasks/s", samples, next(iter(inserts)))]
